"""The documents that the scheduler works by: checks, channels, downtimes, incidents; read, and read again on hints."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from appliance.secrets import SecretError
from appliance.state.model import Document
from checks.catalogue import check_of, secret_names
from checks.channel_catalogue import channel_of
from checks.channel_catalogue import secret_names as channel_secret_names
from checks.channels import Channel, ChannelError
from checks.downtimes import Downtime, downtime_of
from checks.errors import CheckError
from checks.incidents import Incident
from checks.latest import latest_of, members_of
from checks.members import WHOLE, member_key
from checks.model import Check
from checks.sealed import Box, opened
from scheduler.watched import Watched, host_of

log = logging.getLogger(__name__)


class Reader(Protocol):
    def get(self, kind: str, id: str) -> Document | None: ...  # noqa: A002

    def list(self, kind: str, *, where: dict[str, object] | None = None) -> list[Document]: ...


class ChannelBook:
    """All channels, by id and by name."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._channels: dict[str, Channel] = {}
        self._id_by_name: dict[tuple[str, str], str] = {}

    def replace(self, documents: Iterable[Document]) -> None:
        self._channels, self._id_by_name = {}, {}
        for document in documents:
            try:
                channel = channel_of(document.body)
            except msgspec.ValidationError as error:
                log.error("channel %s cannot be read: %s", document.id, error)
                continue
            self._channels[document.id] = channel
            self._id_by_name[channel.team, channel.name] = document.id

    def get(self, channel_id: str) -> Channel | None:
        """A channel with its secrets open. Raises: ChannelError, if they do not open."""
        channel = self._channels.get(channel_id)
        if channel is None:
            return None
        try:
            options = opened(channel.options, channel_secret_names(channel.kind), self._box)
        except SecretError as error:
            raise ChannelError(str(error), "options") from error
        return msgspec.structs.replace(channel, options=options)

    def ids_named(self, subject: str) -> frozenset[str]:
        """The channels that a person means: by id, or by name in any team."""
        by_name = {id_ for (_, name), id_ in list(self._id_by_name.items()) if name == subject}
        return frozenset(by_name | ({subject} & self._channels.keys()))

    def names(self) -> list[str]:
        return [name for _, name in list(self._id_by_name)]

    def ids_of(self, check: Check) -> list[str]:
        """The channels that a check tells, without those that are paused."""
        found = [self._id_by_name.get((check.team, name)) for name in check.channels]
        return [channel_id for channel_id in found if channel_id and not self._channels[channel_id].paused]


class Inventory:
    """What is in the state file, as far as the scheduler needs it."""

    def __init__(self, reader: Reader, box: Box) -> None:
        self.reader = reader
        self._box = box
        self.watched: dict[str, Watched] = {}
        self.channels = ChannelBook(box)
        self._downtimes: Sequence[Downtime] = ()
        self._downtimes_now: tuple[int, Sequence[Downtime]] = (-1, ())

    def read_all(self) -> tuple[list[str], list[Watched]]:
        """Read everything again. Gives the ids of checks that are new or changed, and the checks that are gone."""
        self.read_channels()
        self.read_downtimes()
        documents = {document.id: document for document in self.reader.list("check")}
        new_ids = [check_id for check_id in documents if check_id not in self.watched]
        changed = [document.id for document in documents.values() if self._take(document)]
        if new_ids:
            self._recall(new_ids)
        return changed, [self.watched.pop(check_id) for check_id in list(self.watched) if check_id not in documents]

    def read_check(self, check_id: str) -> tuple[bool, Watched | None]:
        """Read one check again. Gives whether it is new or changed, and the check, if it is gone."""
        document = self.reader.get("check", check_id)
        if document is None:
            return False, self.watched.pop(check_id, None)
        return self._take(document), None

    def read_channels(self) -> None:
        self.channels.replace(self.reader.list("channel"))

    def read_downtimes(self) -> None:
        downtimes = []
        for document in self.reader.list("downtime"):
            try:
                downtimes.append(downtime_of(document.body))
            except CheckError as error:
                log.error("downtime %s cannot be read and silences nothing: %s", document.id, error)
        self._downtimes, self._downtimes_now = downtimes, (-1, ())

    def downtimes_at(self, now_ms: int) -> Sequence[Downtime]:
        """Those that touch this second: old ones pile up, and every result asks."""
        second = now_ms // 1000
        if self._downtimes_now[0] != second:
            touching = [
                downtime
                for downtime in self._downtimes
                if downtime.from_ms < (second + 1) * 1000 and downtime.until_ms > second * 1000
            ]
            self._downtimes_now = (second, touching)
        return self._downtimes_now[1]

    def read_incident(self, incident_id: str) -> None:
        """Take over what people wrote into an incident that we still follow."""
        for watched in self.watched.values():
            for key, incident in watched.incidents.items():
                if incident.id == incident_id:
                    self._take_over(watched, key, incident)
                    return

    def _take_over(self, watched: Watched, key: str, incident: Incident) -> None:
        document = self.reader.get("incident", incident.id)
        by = document.body.get("acknowledged_by") if document else None
        if by != incident.acknowledged_by:
            watched.incidents[key] = msgspec.structs.replace(incident, acknowledged_by=by)

    def orphan_results(self) -> list[str]:
        """Latest results whose check is gone."""
        return [document.id for document in self.reader.list("result") if document.id not in self.watched]

    def orphan_incidents(self) -> list[Incident]:
        """Open incidents whose check is gone."""
        open_ones = self.reader.list("incident", where={"$.state": "open"})
        incidents = [incident for document in open_ones if (incident := _incident_of(document))]
        return [incident for incident in incidents if incident.check_id not in self.watched]

    def ended_incidents(self) -> list[str]:
        """The ids of incidents that have ended, the oldest first."""
        ended = self.reader.list("incident", where={"$.state": "resolved"})
        return [document.id for document in sorted(ended, key=lambda document: document.updated_ms)]

    def _take(self, document: Document) -> bool:
        """Take a document as a check. True if it is new or another version than we have."""
        known = self.watched.get(document.id)
        if known is not None and known.version == document.version:
            return False
        try:
            check = check_of(document.body)
        except msgspec.ValidationError as error:
            log.error("check %s cannot be read and is not run: %s", document.id, error)
            return False
        fault = ""
        try:
            check = msgspec.structs.replace(check, options=opened(check.options, secret_names(check.kind), self._box))
        except SecretError as error:
            fault = str(error)
        if known is None:
            self.watched[document.id] = Watched(
                id=document.id, check=check, version=document.version, host=host_of(check), fault=fault
            )
        else:
            known.check, known.version, known.host, known.fault = check, document.version, host_of(check), fault
        return True

    def _recall(self, check_ids: Sequence[str]) -> None:
        """Give checks their machines and incidents back, as the process before this one left them."""
        wanted = set(check_ids)
        for document in self.reader.list("result"):
            watched = self.watched.get(document.id)
            if watched is None or document.id not in wanted:
                continue
            try:
                latest = latest_of(document.body)
            except msgspec.ValidationError as error:
                log.warning("the latest result of check %s cannot be read: %s", document.id, error)
                continue
            watched.members, watched.next_run_ms = members_of(latest), latest.next_run_ms
        for document in self._unsettled():
            incident = _incident_of(document)
            watched = self.watched.get(incident.check_id) if incident else None
            if incident is None or watched is None or incident.check_id not in wanted:
                continue
            watched.incidents[member_key(incident.instance) if incident.instance else WHOLE] = incident

    def _unsettled(self) -> list[Document]:
        found = self.reader.list("incident", where={"$.state": "open"})
        for told in ("warning", "critical", "unknown"):
            found += self.reader.list("incident", where={"$.state": "resolved", "$.told": told})
        return found


def _incident_of(document: Document) -> Incident | None:
    try:
        return msgspec.convert(document.body, Incident)
    except msgspec.ValidationError as error:
        log.error("incident %s cannot be read: %s", document.id, error)
        return None
