"""The supervisor's decisions as scripts: what happens on the left, what is to be done about it on the right.

`+x` start, `+x~1` start after a pause of 1 s, `-x` stop, `^x` the subtree x gives up to its parent,
`end` all down as asked, `fail` all down in failure.
Times in the scripts are seconds of the driven clock: `exit x @12`; a line without one happens at the time before it.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.supervisor import (
    Action,
    Child,
    Ended,
    GaveUp,
    Phase,
    Replace,
    Start,
    Stop,
    Strategy,
    Subtree,
    Supervisor,
)


def tree(names: str, **options: object) -> Subtree:
    """A flat subtree; a name that ends in ! is one whose readiness the others wait for, one in ~ overlaps."""
    members = tuple(
        Child(name=name.rstrip("!~"), others_wait=name.endswith("!"), overlaps=name.endswith("~"))
        for name in names.split()
    )
    return Subtree(name="top", members=members, **options)  # type: ignore[arg-type]


def nested(inner_strategy: Strategy, outer_strategy: Strategy = Strategy.ONE_FOR_ONE, **outer: object) -> Subtree:
    """top ── a, pair ── (b, c), d; the pair stands one restart in 10 s."""
    pair = Subtree(
        name="pair",
        members=(Child(name="b", others_wait=True), Child(name="c")),
        strategy=inner_strategy,
        restarts_max=1,
        window_s=10,
    )
    members = (Child(name="a"), pair, Child(name="d"))
    return Subtree(name="top", members=members, strategy=outer_strategy, **outer)  # type: ignore[arg-type]


SCRIPTS = {
    "the first is waited for, the rest start together": (
        tree("state! store web"),
        """start        | +state
           ready state  | +store +web
           ready web    |
           ready store  |""",
    ),
    "one_for_one restarts the one that ended, at once": (
        tree("state! store web"),
        """start        | +state
           ready state  | +store +web
           ready store  |
           ready web    |
           exit store   | +store
           exit state   | +state
           ready state  |""",
    ),
    "one that ends before it is ready still holds back those that wait for it": (
        tree("state! store"),
        """start        | +state
           exit state   | +state~0.25
           ready state  | +store""",
    ),
    "one_for_all takes the others down in reverse, then starts all in order": (
        tree("a! b c", strategy=Strategy.ONE_FOR_ALL),
        """start    | +a
           ready a  | +b +c
           ready b  |
           ready c  |
           exit b   | -c
           exit c   | -a
           exit a   | +a
           ready a  | +b +c""",
    ),
    "rest_for_one leaves those started before alone": (
        tree("a b! c d", strategy=Strategy.REST_FOR_ONE),
        """start    | +a +b
           ready a  |
           ready b  | +c +d
           ready c  |
           ready d  |
           exit b   | -d
           exit d   | -c
           exit c   | +b
           ready b  | +c +d""",
    ),
    "a second end during a one_for_all restart does not deadlock": (
        tree("a! b c", strategy=Strategy.ONE_FOR_ALL),
        """start    | +a
           ready a  | +b +c
           ready b  |
           ready c  |
           exit a   | -c
           exit b   |
           exit c   | +a
           exit a   | +a~0.25
           ready a  | +b +c""",
    ),
    "stop goes in reverse order, one after the other": (
        tree("state! store web"),
        """start        | +state
           ready state  | +store +web
           ready web    |
           stop         | -web
           exit web     | -store
           exit store   | -state
           exit state   | end""",
    ),
    "stop while some never started": (
        tree("state! store web"),
        """start       | +state
           stop        | -state
           exit state  | end""",
    ),
    "one that ends by itself during the stop is not restarted": (
        tree("state! store web"),
        """start        | +state
           ready state  | +store +web
           stop         | -web
           exit store   |
           exit web     | -state
           exit state   | end""",
    ),
    "intensity: as many restarts as allowed, one more stops the tree in failure": (
        tree("a b", restarts_max=2, window_s=10),
        """start       | +a +b
           ready a     |
           ready b     |
           exit a @0   | +a
           ready a     |
           exit b @5   | +b
           ready b     |
           exit a @10  | -b
           exit b      | fail 3 ends within 10 s in top, of at most 2; the last was a: SIGKILL""",
    ),
    "intensity: what lies outside the window is forgotten": (
        tree("a", restarts_max=2, window_s=10),
        """start         | +a
           ready a       |
           exit a @0     | +a
           ready a       |
           exit a @5     | +a
           ready a       |
           exit a @10.5  | +a
           ready a       |
           exit a @15.5  | +a""",
    ),
    "intensity zero: the first end is one too many": (
        tree("a", restarts_max=0),
        """start   | +a
           exit a  | fail 1 ends within 60 s in top, of at most 0; the last was a: SIGKILL""",
    ),
    "failed starts in a row end the tree, however slowly": (
        tree("a", failed_starts_max=2),
        """start        | +a
           exit a @0    | +a~0.25
           exit a @100  | +a~0.5
           exit a @200  | fail a could not start, 3 times in a row; the last time: SIGKILL""",
    ),
    "the pause before a start that failed doubles up to its limit": (
        tree("a", failed_starts_max=99, restarts_max=99),
        """start   | +a
           exit a  | +a~0.25
           exit a  | +a~0.5
           exit a  | +a~1
           exit a  | +a~2
           exit a  | +a~4
           exit a  | +a~8
           exit a  | +a~8""",
    ),
    "one good start forgives the failed ones before it": (
        tree("a", failed_starts_max=1),
        """start        | +a
           exit a @0    | +a~0.25
           ready a      |
           exit a @100  | +a
           exit a @200  | +a~0.25""",
    ),
    "a restart that was asked for is not counted": (
        tree("a b", restarts_max=0),
        """start      | +a +b
           ready a    |
           ready b    |
           restart a  | -a
           exit a     | +a
           ready a    |""",
    ),
    "reload goes through the children one at a time, each when all are up": (
        tree("a! b c"),
        """start    | +a
           ready a  | +b +c
           ready b  |
           ready c  |
           reload   | -a
           exit a   | +a
           ready a  | -b
           exit b   | +b
           exit b   | +b~0.25
           ready b  | -c
           exit c   | +c
           ready c  |""",
    ),
    "one that overlaps is replaced, and the next waits for that": (
        tree("a~ b"),
        """start       | +a +b
           ready a     |
           ready b     |
           reload      | *a
           replaced a  | -b
           exit b      | +b
           ready b     |""",
    ),
    "one that ends while another starts beside it is started again, and the reload goes on": (
        tree("a~ b", restarts_max=9),
        """start    | +a +b
           ready a  |
           ready b  |
           reload   | *a
           exit a   | +a
           ready a  | -b""",
    ),
    "a stop does not wait for a replacement": (
        tree("a~"),
        """start    | +a
           ready a  |
           restart a  | *a
           restart a  |
           stop     | -a
           exit a   | end""",
    ),
    "a stop ends a reload": (
        tree("a b"),
        """start    | +a +b
           ready a  |
           ready b  |
           reload   | -a
           stop     | -b
           exit b   |
           exit a   | end""",
    ),
    "nested: a subtree answers for its own": (
        nested(Strategy.ONE_FOR_ALL),
        """start    | +a +b
           ready b  | +c +d
           ready c  |
           exit c   | -b
           exit b   | +b
           ready b  | +c""",
    ),
    "nested: over its intensity the whole subtree is restarted by its parent, with clean counts": (
        nested(Strategy.ONE_FOR_ONE),
        """start       | +a +b
           ready b     | +c +d
           ready c     |
           exit c @0   | +c
           ready c     |
           exit c @1   | ^pair -b
           exit b      | +b
           ready b     | +c
           ready c     |
           exit c @2   | +c""",
    ),
    "nested: the parent's strategy reaches over the floors": (
        nested(Strategy.ONE_FOR_ONE, Strategy.REST_FOR_ONE),
        """start      | +a +b
           ready b    | +c +d
           ready c    |
           exit c @0  | +c
           exit c @1  | ^pair -d
           exit d     | -b
           exit b     | +b
           ready b    | +c +d""",
    ),
    "nested: both floors over their limits end in failure": (
        nested(Strategy.ONE_FOR_ONE, restarts_max=0),
        """start      | +a +b
           ready b    | +c +d
           ready c    |
           exit c @0  | +c
           exit c @1  | ^pair -d
           exit d     | -b
           exit b     | -a
           exit a     | fail 1 ends within 60 s in top, of at most 0; the last was c: SIGKILL""",
    ),
}


def drawn(action: Action) -> str:
    match action:
        case Start(name, 0.0):
            return f"+{name}"
        case Start(name, after_s):
            return f"+{name}~{after_s:g}"
        case Stop(name):
            return f"-{name}"
        case Replace(name):
            return f"*{name}"
        case GaveUp(subtree, _):
            return f"^{subtree}"
        case Ended(reason, failed):
            return f"fail {reason}" if failed else "end"


def happen(supervisor: Supervisor, event: str, now_s: float) -> list[Action]:
    verb, _, name = event.partition(" ")
    match verb:
        case "start":
            return supervisor.start()
        case "ready":
            return supervisor.ready(name)
        case "exit":
            return supervisor.exited(name, "SIGKILL", now_s)
        case "replaced":
            return supervisor.replaced(name)
        case "restart":
            return supervisor.restart(name)
        case "reload":
            return supervisor.reload()
        case "stop":
            return supervisor.stop("asked")
    raise AssertionError(f"no such event: {event!r}")


@pytest.mark.parametrize(("subtree", "script"), SCRIPTS.values(), ids=SCRIPTS.keys())
def test_script(subtree: Subtree, script: str) -> None:
    supervisor, now_s = Supervisor(subtree), 0.0
    for line in script.splitlines():
        left, _, want = (part.strip() for part in line.partition("|"))
        event, _, at = (part.strip() for part in left.partition("@"))
        now_s = float(at) if at else now_s
        assert " ".join(map(drawn, happen(supervisor, event, now_s))) == want, f"after {left!r}"


STRATEGIES = st.sampled_from(Strategy)


@st.composite
def trees(draw: st.DrawFn) -> Subtree:
    """Any tree of two floors, any strategies, limits that random histories reach now and then."""
    numbers = iter(range(100))

    def subtree(depth: int) -> Subtree:
        members: list[Child | Subtree] = []
        for _ in range(draw(st.integers(1, 3))):
            if depth and draw(st.booleans()):
                members.append(subtree(depth - 1))
            else:
                members.append(
                    Child(name=f"c{next(numbers)}", others_wait=draw(st.booleans()), overlaps=draw(st.booleans()))
                )
        return Subtree(
            name=f"s{next(numbers)}",
            members=tuple(members),
            strategy=draw(STRATEGIES),
            restarts_max=draw(st.integers(0, 8)),
            window_s=10,
            failed_starts_max=draw(st.integers(0, 4)),
        )

    return subtree(2)


@given(trees(), st.data())
def test_whatever_happens_the_tree_comes_up_or_ends_and_never_deadlocks(subtree: Subtree, data: st.DataObject) -> None:
    """Goal: no history leaves a child neither up nor on its way. Method: a random history, then a kind world in
    which every start gets ready and every stop ends: all must be up, or the tree must have ended."""
    supervisor, now_s = Supervisor(subtree), 0.0
    replacing: set[str] = set()

    def noted(actions: list[Action]) -> bool:
        """Whether the tree has ended by them."""
        replacing.update(action.name for action in actions if isinstance(action, Replace))
        return any(isinstance(action, Ended) for action in actions)

    ended = noted(supervisor.start())
    for _ in range(data.draw(st.integers(0, 30))):
        alive = [name for name, phase in supervisor.phases.items() if phase is not Phase.DOWN]
        if not alive:
            break
        now_s += data.draw(st.sampled_from([0.0, 1.0, 20.0]))
        name = data.draw(st.sampled_from(alive))
        match data.draw(st.sampled_from(["exit", "exit", "ready", "ready", "restart", "reload", "replaced"])):
            case "exit":
                replacing.discard(name)
                ended = noted(supervisor.exited(name, "exit 1", now_s))
            case "ready":
                ended = noted(supervisor.ready(name))
            case "restart":
                ended = noted(supervisor.restart(name))
            case "replaced":
                if replacing:
                    ended = noted(supervisor.replaced(replacing.pop()))
            case _:
                ended = noted(supervisor.reload())
    for _ in range(200):
        starting = [name for name, phase in supervisor.phases.items() if phase is Phase.STARTING]
        stopping = [name for name, phase in supervisor.phases.items() if phase is Phase.STOPPING]
        if not starting and not stopping and not replacing:
            break
        for name in starting:
            ended |= noted(supervisor.ready(name))
        for name in stopping:
            replacing.discard(name)
            ended |= noted(supervisor.exited(name, "exit 0", now_s))
        while replacing:
            ended |= noted(supervisor.replaced(replacing.pop()))
    assert ended or supervisor.all_up, supervisor.phases
    assert ended or not supervisor.reloading
