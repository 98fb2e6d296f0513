"""The one SQLite state file: documents, events, the outbox, the audit. One process writes it, all may read it."""

from appliance.state.client import AsyncStateClient, StateClient
from appliance.state.model import AuditEntry, Change, Document, Event, Message, state_path
from appliance.state.mutations import (
    AppendEvent,
    DeleteDocument,
    Mutation,
    PutDocument,
    QueueMessage,
    UpdateMessage,
)
from appliance.state.reader import StateReader, json_path

__all__ = [
    "AppendEvent",
    "AsyncStateClient",
    "AuditEntry",
    "Change",
    "DeleteDocument",
    "Document",
    "Event",
    "Message",
    "Mutation",
    "PutDocument",
    "QueueMessage",
    "StateClient",
    "StateReader",
    "UpdateMessage",
    "json_path",
    "state_path",
]
