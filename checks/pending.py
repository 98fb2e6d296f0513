"""The state as it will be: documents as they are read, under changes that are decided and not made yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from appliance.state.model import Document
from appliance.state.mutations import DeleteDocument, Mutation, PutDocument
from checks.reading import DocumentReader

LIMIT = 1_000_000  # More documents of one kind than an appliance holds.
Documents = list[Document]  # Within the class, `list` is the method.


class PendingReader:
    """A DocumentReader for changes that are made in one transaction, each of which must see those before it."""

    def __init__(self, reader: DocumentReader) -> None:
        self._reader = reader
        self._changed: dict[tuple[str, str], Document | None] = {}  # None: deleted.

    def take(self, mutations: Iterable[Mutation]) -> None:
        """From now on these are as if they were made."""
        for mutation in mutations:
            if isinstance(mutation, DeleteDocument):
                self._changed[mutation.kind, mutation.id] = None
            elif isinstance(mutation, PutDocument):
                self._changed[mutation.kind, mutation.id] = self._as_document(mutation)

    def _as_document(self, put: PutDocument) -> Document:
        before = self.get(put.kind, put.id)
        new = Document(
            kind=put.kind,
            id=put.id,
            version=1,
            body=put.body,
            created_ms=0,
            updated_ms=0,
            updated_by="",
            unique=put.unique,
        )
        return new if before is None else msgspec.structs.replace(new, version=before.version + 1)

    def get(self, kind: str, id: str) -> Document | None:  # noqa: A002 - As the document calls it.
        key = (kind, id)
        return self._changed[key] if key in self._changed else self._reader.get(kind, id)

    def list(
        self, kind: str, *, where: Mapping[str, Any] | None = None, limit: int = LIMIT, offset: int = 0
    ) -> Documents:
        """where: only paths of one word, such as $.rules."""
        wanted = {path.removeprefix("$."): value for path, value in (where or {}).items()}
        assert not any("." in name for name in wanted), where
        found = {one.id: one for one in self._reader.list(kind, where=where, limit=LIMIT)}
        for (changed_kind, document_id), document in self._changed.items():
            if changed_kind == kind:
                found.pop(document_id, None)
                if document is not None and all(document.body.get(name) == value for name, value in wanted.items()):
                    found[document_id] = document
        return sorted(found.values(), key=lambda document: document.id)[offset : offset + limit]

    def by_unique(self, kind: str, unique: str) -> Document | None:
        for document in self._changed.values():
            if document is not None and document.kind == kind and document.unique == unique:
                return document
        found = self._reader.by_unique(kind, unique)
        return None if found is not None and (kind, found.id) in self._changed else found
