"""The decisions of a supervisor: what to start, what to stop, when to give up. No I/O and no clock.

The keeper tells what happened (a child is ready, a child has ended) and gets back what to do, as data; it does
it and tells again. The strategies and the intensity are those of Erlang's supervisor behaviour (OTP, "Supervisor
Behaviour", Design Principles); one thing is added: a child that ends again and again before it is ready is given
up by count, however slowly it fails, because a start that hangs until its time-out never fills a time window.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


class Strategy(enum.Enum):
    """Who is restarted when one member of a subtree ends."""

    ONE_FOR_ONE = "only the member that ended"
    ONE_FOR_ALL = "every member of the subtree"
    REST_FOR_ONE = "the member that ended and those started after it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A leaf of the tree: one process."""

    name: str
    others_wait: bool = False  # Those after it in the tree start only when this one is ready.
    overlaps: bool = False  # A restart on purpose has the next one ready before this one is asked to stop.


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtree:
    """A branch: its members in start order, and how it answers the end of one of them."""

    name: str
    members: tuple[Child | Subtree, ...]
    strategy: Strategy = Strategy.ONE_FOR_ONE
    restarts_max: int = 20  # At most so many restarts …
    window_s: float = 60.0  # … within this time; one more, and the subtree gives up to its parent.
    failed_starts_max: int = 5  # In a row, of one child, each ended before it was ready.


@dataclass(frozen=True, slots=True)
class Start:
    name: str
    after_s: float = 0.0  # A pause before the start, for one that failed in its last.


@dataclass(frozen=True, slots=True)
class Stop:
    name: str


@dataclass(frozen=True, slots=True)
class Replace:
    """Start another beside the one that runs, and stop the old one when the new one is ready. replaced() ends it."""

    name: str


@dataclass(frozen=True, slots=True)
class GaveUp:
    """A subtree handed its trouble to its parent. Only told: what follows from it comes as actions of its own."""

    subtree: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """Every child is down and stays down."""

    reason: str
    failed: bool


Action = Start | Stop | Replace | GaveUp | Ended


# Before the start that follows the first failed one, and doubled with each that follows: with the default of five,
# a disk or a port that is free again within 8 s costs no appliance. A child that was ready is started at once.
FIRST_PAUSE_S = 0.25
PAUSE_S_MAX = 8.0


class Phase(enum.Enum):
    DOWN = "down"
    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"


@dataclass(slots=True, eq=False)
class _Leaf:
    """One child as the supervisor sees it now.

    Invariant: the three sets hold names of other leaves of the same restart; each shrinks as the others come down
    or get ready, and a leaf acts when the set that holds it back is empty.
    """

    child: Child
    parent: _Branch
    phase: Phase = Phase.DOWN
    wanted: bool = False
    is_replaced: bool = False  # Another one starts beside it.
    must_stop: bool = False  # It has to go down before it is started again, or for good.
    stops_after: set[str] = field(default_factory=set)
    starts_after_down: set[str] = field(default_factory=set)
    starts_after_ready: set[str] = field(default_factory=set)
    failed_starts_count: int = 0


@dataclass(slots=True, eq=False)
class _Branch:
    subtree: Subtree
    parent: _Branch | None
    members: list[_Leaf | _Branch] = field(default_factory=list)
    restarted_at_s: deque[float] = field(default_factory=deque)


class Supervisor:
    """The tree and its state. Every method takes what happened and returns what to do now, in order."""

    def __init__(self, tree: Subtree) -> None:
        self._root = _grow(tree, None)
        self._leaves = {leaf.child.name: leaf for leaf in _leaves_of(self._root)}
        assert len(self._leaves) == len(list(_leaves_of(self._root))), f"two children of one name in {tree.name}"
        self._ending: Ended | None = None
        self._reload_queue: deque[str] = deque()

    @property
    def phases(self) -> dict[str, Phase]:
        return {name: leaf.phase for name, leaf in self._leaves.items()}

    @property
    def all_up(self) -> bool:
        return all(leaf.phase is Phase.UP for leaf in self._leaves.values())

    @property
    def ending(self) -> bool:
        return self._ending is not None

    @property
    def reloading(self) -> bool:
        return bool(self._reload_queue) or not self._is_calm()

    def start(self, up: Iterable[str] = ()) -> list[Action]:
        """up: those that run already, and answer."""
        for name in up:
            leaf = self._leaves[name]
            leaf.phase, leaf.wanted = Phase.UP, True
        down = [leaf for leaf in self._leaves.values() if leaf.phase is Phase.DOWN]
        self._recycle(down)
        return self._advance()

    def ready(self, name: str) -> list[Action]:
        """The child answers now."""
        leaf = self._leaves[name]
        if leaf.phase is Phase.STARTING:
            leaf.phase = Phase.UP
            leaf.failed_starts_count = 0
            for other in self._leaves.values():
                other.starts_after_ready.discard(name)
        return self._advance()

    def exited(self, name: str, cause: str, now_s: float) -> list[Action]:
        """The child's process is gone, asked or not. now_s: monotonic."""
        leaf = self._leaves[name]
        assert leaf.phase is not Phase.DOWN, f"BUG: {name} ended twice"
        was, leaf.phase = leaf.phase, Phase.DOWN
        leaf.is_replaced = False  # Whoever was to follow it is started in its place.
        was_meant, leaf.must_stop = leaf.must_stop or was is Phase.STOPPING, False
        for other in self._leaves.values():
            other.stops_after.discard(name)
            other.starts_after_down.discard(name)
        told: list[Action] = []
        if not was_meant and self._ending is None:
            leaf.failed_starts_count += was is Phase.STARTING
            told = self._answer_failure(leaf, cause, now_s)
        return told + self._advance()

    def restart(self, name: str) -> list[Action]:
        """Restart one child because somebody asked; not counted against the intensity."""
        leaf = self._leaves[name]
        if self._ending is None and leaf.phase in (Phase.STARTING, Phase.UP):
            return self._renew(leaf) + self._advance()
        return self._advance()

    def replaced(self, name: str) -> list[Action]:
        """A replacement is over: another process has the name, or the one that ran has kept it."""
        self._leaves[name].is_replaced = False
        return self._advance()

    def reload(self, names: Iterable[str] | None = None) -> list[Action]:
        """Restart these children, or all, one at a time in start order, the next when all are up again."""
        if self._ending is None:
            wanted = {*self._reload_queue, *(self._leaves if names is None else names)}
            self._reload_queue = deque(name for name in self._leaves if name in wanted)
        return self._advance()

    def stop(self, reason: str, *, failed: bool = False) -> list[Action]:
        """Stop everything in reverse order. The first reason stays."""
        if self._ending is None:
            self._end(Ended(reason, failed))
        return self._advance()

    def _answer_failure(self, leaf: _Leaf, cause: str, now_s: float) -> list[Action]:
        """Count the restart at the leaf's parent; what is over its limit goes up one floor, at last to the end."""
        told: list[Action] = []
        member: _Leaf | _Branch = leaf
        branch = leaf.parent
        while reason := _over_limit(branch, leaf, cause, now_s):
            _forget(branch)
            if branch.parent is None:
                self._end(Ended(reason, failed=True))
                return told
            told.append(GaveUp(branch.subtree.name, reason))
            member, branch = branch, branch.parent
        self._recycle(_affected(branch, member))
        return told

    def _recycle(self, leaves: Iterable[_Leaf]) -> None:
        """Take these down in reverse order where they are up, then start them in order."""
        batch = list(leaves)
        alive = {leaf.child.name for leaf in batch if leaf.phase is not Phase.DOWN}
        waited_for: set[str] = set()
        for leaf in batch:
            leaf.wanted = True
            leaf.starts_after_down |= alive
            leaf.starts_after_ready |= waited_for
            if leaf.child.others_wait:
                waited_for = waited_for | {leaf.child.name}
        _stop_in_reverse(batch)

    def _is_calm(self) -> bool:
        return self.all_up and not any(leaf.must_stop or leaf.is_replaced for leaf in self._leaves.values())

    def _renew(self, leaf: _Leaf) -> list[Action]:
        """Another process for a child, because somebody asked."""
        if not leaf.child.overlaps or leaf.phase is not Phase.UP or leaf.must_stop:
            self._recycle([leaf])
        elif not leaf.is_replaced:
            leaf.is_replaced = True
            return [Replace(leaf.child.name)]
        return []

    def _end(self, ended: Ended) -> None:
        self._ending = ended
        self._reload_queue.clear()
        for leaf in self._leaves.values():
            leaf.wanted = False
        _stop_in_reverse(list(self._leaves.values()))

    def _advance(self) -> list[Action]:
        """Everything that nothing holds back any more."""
        actions: list[Action] = []
        if self._reload_queue and self._is_calm():
            actions += self._renew(self._leaves[self._reload_queue.popleft()])
        for leaf in self._leaves.values():
            if leaf.must_stop and leaf.phase in (Phase.STARTING, Phase.UP) and not leaf.stops_after:
                leaf.phase = Phase.STOPPING
                actions.append(Stop(leaf.child.name))
            elif leaf.phase is Phase.DOWN and leaf.wanted and not (leaf.starts_after_down or leaf.starts_after_ready):
                leaf.phase = Phase.STARTING
                actions.append(Start(leaf.child.name, _pause_s(leaf.failed_starts_count)))
        if self._ending is not None and all(leaf.phase is Phase.DOWN for leaf in self._leaves.values()):
            actions.append(self._ending)
        return actions


def _pause_s(failed_starts_count: int) -> float:
    if failed_starts_count == 0:
        return 0.0
    return min(PAUSE_S_MAX, FIRST_PAUSE_S * 2.0 ** (failed_starts_count - 1))


def _grow(subtree: Subtree, parent: _Branch | None) -> _Branch:
    branch = _Branch(subtree, parent)
    for member in subtree.members:
        branch.members.append(_grow(member, branch) if isinstance(member, Subtree) else _Leaf(member, branch))
    return branch


def _leaves_of(member: _Leaf | _Branch) -> Iterator[_Leaf]:
    if isinstance(member, _Leaf):
        yield member
    else:
        for inner in member.members:
            yield from _leaves_of(inner)


def _affected(branch: _Branch, member: _Leaf | _Branch) -> list[_Leaf]:
    """The leaves, in start order, that the branch's strategy restarts when this member of it ends."""
    position = branch.members.index(member)
    match branch.subtree.strategy:
        case Strategy.ONE_FOR_ONE:
            members = branch.members[position : position + 1]
        case Strategy.ONE_FOR_ALL:
            members = branch.members
        case Strategy.REST_FOR_ONE:
            members = branch.members[position:]
    return [leaf for each in members for leaf in _leaves_of(each)]


def _over_limit(branch: _Branch, leaf: _Leaf, cause: str, now_s: float) -> str | None:
    """Count one restart of the branch, and say why it is one too many, if it is."""
    subtree, times = branch.subtree, branch.restarted_at_s
    times.append(now_s)
    while times[0] < now_s - subtree.window_s:
        times.popleft()
    name = leaf.child.name
    if leaf.failed_starts_count > subtree.failed_starts_max:
        return f"{name} could not start, {leaf.failed_starts_count} times in a row; the last time: {cause}"
    if len(times) > subtree.restarts_max:
        return (
            f"{len(times)} ends within {subtree.window_s:g} s in {subtree.name}, of at most {subtree.restarts_max}; "
            f"the last was {name}: {cause}"
        )
    return None


def _forget(branch: _Branch) -> None:
    """A branch that its parent restarts begins with clean counts, and so does all below it."""
    branch.restarted_at_s.clear()
    for member in branch.members:
        if isinstance(member, _Leaf):
            member.failed_starts_count = 0
        else:
            _forget(member)


def _stop_in_reverse(batch: list[_Leaf]) -> None:
    """Mark the living ones: each goes down after those started after it are down."""
    later: set[str] = set()
    for leaf in reversed(batch):
        if leaf.phase is Phase.DOWN:
            continue
        leaf.stops_after |= later
        later = later | {leaf.child.name}
        leaf.must_stop = True
