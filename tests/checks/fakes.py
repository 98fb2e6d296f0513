"""A state store of dicts and a box that seals by turning text round: enough for rules that only read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from appliance.state.model import Document
from appliance.state.mutations import DeleteDocument, Mutation, PutDocument


class MemoryReader:
    """DocumentReader over what apply() was given."""

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], Document] = {}

    def apply_all(self, mutations: Sequence[Mutation]) -> None:
        for mutation in mutations:
            if isinstance(mutation, PutDocument):
                before = self.documents.get((mutation.kind, mutation.id))
                self.documents[mutation.kind, mutation.id] = Document(
                    kind=mutation.kind,
                    id=mutation.id,
                    version=before.version + 1 if before else 1,
                    body=mutation.body,
                    created_ms=1,
                    updated_ms=2,
                    updated_by="test",
                    unique=mutation.unique,
                )
            elif isinstance(mutation, DeleteDocument):
                del self.documents[mutation.kind, mutation.id]

    def get(self, kind: str, id: str) -> Document | None:  # noqa: A002
        return self.documents.get((kind, id))

    def list(
        self, kind: str, *, where: Mapping[str, Any] | None = None, limit: int = 1000, offset: int = 0
    ) -> list[Document]:
        found = [document for (its_kind, _), document in self.documents.items() if its_kind == kind]
        wanted = {path.removeprefix("$."): value for path, value in (where or {}).items()}
        return [one for one in found if all(one.body.get(name) == value for name, value in wanted.items())]

    def by_unique(self, kind: str, unique: str) -> Document | None:
        return next((document for document in self.list(kind) if document.unique == unique), None)


class MirrorBox:
    def seal(self, text: str) -> str:
        return text[::-1]

    def open(self, sealed: str) -> str:
        return sealed[::-1]
