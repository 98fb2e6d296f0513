"""Ask an appliance and a real Prometheus the same: `python -m tests.scripts.twin [--seconds N] [--seed N]`.

Both get the same samples (twin_samples.py) by remote-write, in stages: the appliance writes blocks in between, and
keeps answers that later samples have to change. After each stage both are asked the same expressions
(twin_expressions.py), as instant and as range queries; the appliance without what it keeps, with it, and with the range
moved on by some steps. What differs is made smaller until nothing can be left out.

The Prometheus that Debian has is release 2.42, and our answers are those of release 3: what they have decided otherwise
since then is written for each in its own way or left out (Span, Word, and the heads of those files). Not asked, for it
does not have them: names with other characters than letters, experimental functions, warnings and infos.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from tests.scripts.twin_expressions import Grammar, Piece
from tests.scripts.twin_peer import Twins, difference, twins
from tests.scripts.twin_samples import BASE_S, LENGTH_S, made
from tsdb.client import TsdbClient

STAGES_S = (6_000, 8_400, LENGTH_S)  # Up to when both have samples; blocks are written before each but the last.
DIFFERENCES_MAX = 20
SMALLER_TRIES_MAX = 400
STEPS_S = (1, 10, 15, 47, 60, 300, 1_000)
STEP_COUNT_MAX = 150


@dataclass(frozen=True, slots=True)
class Question:
    """An expression with its times. moved_s: how far the range moves on when it is asked again."""

    expression: Piece
    start_s: int
    step_s: int
    step_count: int
    moved_s: int

    def difference(self, both: Twins) -> str:
        """The first that is found; empty when all answers are the same."""
        return next((f"{how}: {text}" for how, text in self._differences(both) if text), "")

    def _differences(self, both: Twins) -> Iterator[tuple[str, str]]:
        ours, theirs = self.expression.text(), self.expression.text(is_peer=True)
        at = {"time": str(self.start_s)}
        wanted = both.theirs.ask("query", {"query": theirs, **at})
        yield f"at {self.start_s}", difference(both.ours.ask("query", {"query": ours, **at}), wanted)
        for moved_s in (0, self.moved_s):
            start_s = self.start_s + moved_s
            end_s = start_s + self.step_count * self.step_s
            times = {"start": str(start_s), "end": str(end_s), "step": str(self.step_s)}
            wanted = both.theirs.ask("query_range", {"query": theirs, **times})
            for how in ({"nocache": "1"}, {}, {}) if not moved_s else ({}, {"nocache": "1"}):
                found = both.ours.ask("query_range", {"query": ours, **times, **how})
                yield f"from {start_s} to {end_s} by {self.step_s} {how}", difference(found, wanted)


def questions(seed: str, end_s: int) -> Iterator[Question]:
    """Without end. Times reach a little beyond the samples, which end at end_s."""
    chance = random.Random(seed)
    grammar = Grammar(chance, BASE_S, end_s - BASE_S)
    while True:
        step_s, step_count = chance.choice(STEPS_S), chance.randrange(1, STEP_COUNT_MAX)
        yield Question(
            grammar.expression(),
            chance.randrange(BASE_S - 600, end_s + 600),
            step_s,
            step_count,
            chance.choice((1, 3, step_count // 2 + 1)) * step_s,
        )


def shrunk(question: Question, both: Twins) -> Question:
    """The smallest question found that still shows a difference."""
    smallest = question
    tries_left = SMALLER_TRIES_MAX
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for expression in smallest.expression.smaller():
            candidate = Question(expression, smallest.start_s, smallest.step_s, smallest.step_count, smallest.moved_s)
            tries_left -= 1
            if tries_left < 0:
                return smallest
            if candidate.difference(both):
                smallest, is_smaller = candidate, True
                break
    return smallest


@dataclass
class Outcome:
    """What a run found. differences: texts, each with the smallest question that shows it."""

    asked_count: int
    differences: list[str]


def run(folder: Path, *, seed: int, seconds: float, count_max: int | None = None) -> Outcome:
    """seconds: for all questions; count_max: of each stage, whatever the time."""
    outcome = Outcome(0, [])
    series = made(seed)
    with twins(folder) as both:
        before_s = BASE_S
        for number, until_s in enumerate(STAGES_S):
            both.write(series, before_s, BASE_S + until_s)
            before_s = BASE_S + until_s
            deadline_s = time.monotonic() + seconds / len(STAGES_S)
            _ask_all(outcome, both, questions(f"{seed}/{number}", before_s), deadline_s, count_max)
            if number + 1 < len(STAGES_S):
                _write_blocks(both)
    return outcome


def _ask_all(
    outcome: Outcome, both: Twins, asked: Iterator[Question], deadline_s: float, count_max: int | None
) -> None:
    for count, question in enumerate(asked):
        is_late = time.monotonic() > deadline_s
        if (count >= count_max if count_max is not None else is_late) or len(outcome.differences) >= DIFFERENCES_MAX:
            return
        outcome.asked_count += 1
        if question.difference(both):
            smallest = shrunk(question, both)
            text = f"{smallest.expression.text()}\n    {smallest.difference(both) or question.difference(both)}"
            outcome.differences.append(f"{text}\n    of {question.expression.text()}")


def _write_blocks(both: Twins) -> None:
    client = TsdbClient(both.appliance.data_dir / "run")
    try:
        client.compact()
    finally:
        client.close()


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="How long to ask.")
@click.option("--seed", type=int, help="Of samples and questions; by default another one each time.")
def main(seconds: float, seed: int | None) -> None:
    """Compare the answers of both. Exit status 1 if any differs."""
    seed = random.randrange(2**31) if seed is None else seed
    with tempfile.TemporaryDirectory() as folder:
        try:
            outcome = run(Path(folder), seed=seed, seconds=seconds)
        except FileNotFoundError as error:
            raise click.ClickException(str(error)) from error
    for text in outcome.differences:
        click.echo(text)
    click.echo(f"seed {seed}: {outcome.asked_count} questions, {len(outcome.differences)} differences")
    raise SystemExit(1 if outcome.differences else 0)


if __name__ == "__main__":
    main()
