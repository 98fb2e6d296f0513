"""Which retention each series has: schemas in order, the first that fits counts, as in Graphite's storage-schemas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from appliance.retention import Retention, RetentionTier, SchemaRule
from tsdb.sample import METRIC_NAME, Matcher, MatchOp
from tsdb.store.index import SeriesIndex

Numbers = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Schema:
    """matchers: all must hold; none at all fits every series."""

    matchers: tuple[Matcher, ...]
    retention: Retention

    @property
    def raw_ms(self) -> int | None:
        return self.retention.raw_ms

    @property
    def rollups(self) -> tuple[RetentionTier, ...]:
        """Finest first."""
        return self.retention.tiers[1:]

    def keep_ms(self, tier_ms: int) -> int | None:
        """How long a tier is kept, 0 being the raw samples; None: forever.

        What was rolled up to a tier that the schema no longer has stays as long as its longest one.
        """
        for tier in self.retention.tiers:
            if tier.resolution_ms == tier_ms:
                return tier.keep_ms
        return self.retention.tiers[-1].keep_ms


@dataclass(frozen=True)
class SchemaTable:
    """Invariant: the last schema fits every series."""

    schemas: tuple[Schema, ...]

    @staticmethod
    def of(default: Retention, rules: Sequence[SchemaRule] = ()) -> SchemaTable:
        return SchemaTable((*(Schema(_matchers(rule), rule.retention) for rule in rules), Schema((), default)))

    @staticmethod
    def raw_only(keep_ms: int | None) -> SchemaTable:
        """Every sample as it came for so long; None: forever."""
        return SchemaTable.of(Retention((RetentionTier(0, keep_ms),)))

    @cached_property
    def raw_max_ms(self) -> int | None:
        """The longest time that raw samples of any series are kept; None: forever."""
        found = [schema.raw_ms for schema in self.schemas]
        return None if None in found else max(keep_ms for keep_ms in found if keep_ms is not None)

    @cached_property
    def keep_max_ms(self) -> int | None:
        """The longest time that samples of any series are kept, rolled up or not; None: forever."""
        found = [schema.retention.tiers[-1].keep_ms for schema in self.schemas]
        return None if None in found else max(keep_ms for keep_ms in found if keep_ms is not None)

    @cached_property
    def tiers_ms(self) -> tuple[int, ...]:
        """The resolutions of all rollups, finest first."""
        return tuple(sorted({tier.resolution_ms for schema in self.schemas for tier in schema.rollups}))

    def keep_min_ms(self, tier_ms: int) -> int | None:
        """The shortest time that any schema keeps a tier; None: forever."""
        found = [keep_ms for schema in self.schemas if (keep_ms := schema.keep_ms(tier_ms)) is not None]
        return min(found, default=None)

    def stats(self) -> dict[str, int | None]:
        """How long anything is kept, and how long samples of every series; None: forever."""
        return {"keep_ms": self.keep_max_ms, "raw_keep_min_ms": self.keep_min_ms(0)}

    def numbers_of(self, index: SeriesIndex) -> Numbers:
        """By id, the number of the schema of each series of an index; conditions are tried on distinct values."""
        numbers = np.full(len(index), len(self.schemas) - 1, np.int8)
        is_free = np.ones(len(index), np.bool_)
        for number, schema in enumerate(self.schemas[:-1]):
            ids = index.match(schema.matchers)
            ids = ids[is_free[ids]]
            numbers[ids] = number
            is_free[ids] = False
        return numbers


def _matchers(rule: SchemaRule) -> tuple[Matcher, ...]:
    matchers = [Matcher(label, MatchOp(operator), value) for label, operator, value in rule.conditions]
    if rule.pattern:
        matchers.append(Matcher(METRIC_NAME, MatchOp.REGEX, f".*(?:{rule.pattern}).*"))
    return tuple(matchers)
