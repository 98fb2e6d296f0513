"""What this room asks of the state store: documents, read. The handle is appliance.state's StateReader, or a test's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from appliance.state.model import Document


class DocumentReader(Protocol):
    def get(self, kind: str, id: str) -> Document | None: ...  # noqa: A002

    def list(
        self, kind: str, *, where: Mapping[str, Any] | None = None, limit: int = ..., offset: int = 0
    ) -> list[Document]: ...

    def by_unique(self, kind: str, unique: str) -> Document | None: ...
