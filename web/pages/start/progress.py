"""How far the first set-up has come: one document of the appliance, so that anybody who may can go on with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.state import Document, PutDocument

KIND, ID = "setup", "first"


class Step(StrEnum):
    """In their order; each is also the last part of its address. The administrator, step 1, is there already."""

    WATCH = "watch"
    CHANNEL = "channel"
    TEST = "test"

    @property
    def number(self) -> int:
        return list(Step).index(self) + 2

    @property
    def heading(self) -> str:
        return {"watch": "What to watch", "channel": "How you are told", "test": "A test alert"}[self]

    @property
    def next(self) -> Step | None:
        """None after the last."""
        return next((step for step in Step if step.number == self.number + 1), None)


class Ending(StrEnum):
    """How a set-up ended that is not offered any more."""

    DONE = "done"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True)
class Progress:
    """The step that comes next, and whether the set-up has ended."""

    step: Step = Step.WATCH
    ending: Ending | None = None

    def after(self, step: Step) -> Progress:
        """When a step is done or left out. One that comes again changes nothing: who goes back loses nothing."""
        if self.ending is not None or step.number < self.step.number:
            return self
        return Progress(step.next) if step.next else Progress(step, Ending.DONE)


def progress_of(document: Document | None) -> Progress | None:
    """None: this appliance was set up in another way, and is offered nothing. What cannot be read counts as begun."""
    if document is None:
        return None
    step, ending = document.body.get("step"), document.body.get("ending")
    return Progress(
        Step(step) if step in set(Step) else Step.WATCH,
        Ending(ending) if ending in set(Ending) else None,
    )


def stored(progress: Progress) -> PutDocument:
    """Not audited: it is no setting, and says nothing that the changes themselves do not say."""
    body = {"step": progress.step.value, "ending": progress.ending.value if progress.ending else ""}
    return PutDocument(kind=KIND, id=ID, body=body, audited=False)
