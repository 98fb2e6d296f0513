"""Rule files for the rooms above: their nouns, how they are read, and how a group is evaluated.

The door to tsdb/query/rules, as client.py is the door to the store: what stands there may move, these names stay.
"""

from __future__ import annotations

from tsdb.query.rules.alerts import Alert, AlertBook, AlertState
from tsdb.query.rules.document import BadDocument
from tsdb.query.rules.evaluation import GroupRun, RuleState, rows_of
from tsdb.query.rules.file import read_groups
from tsdb.query.rules.model import AlertingRule, Fault, RecordingRule, Rule, RuleGroup

__all__ = [
    "Alert",
    "AlertBook",
    "AlertState",
    "AlertingRule",
    "BadDocument",
    "Fault",
    "GroupRun",
    "RecordingRule",
    "Rule",
    "RuleGroup",
    "RuleState",
    "read_groups",
    "rows_of",
]
