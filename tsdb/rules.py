"""Rule files for the rooms above: their nouns, how they are read, and how a group is evaluated.

The door to tsdb/query/rules, as client.py is the door to the store: what stands there may move, these names stay.
"""

from __future__ import annotations

from tsdb.query.promql.describe import formatted
from tsdb.query.rules.alerts import ALERT_NAME, ALERTS_FOR_STATE, Alert, AlertBook, AlertState
from tsdb.query.rules.document import BadDocument
from tsdb.query.rules.evaluation import GroupRun, Health, RuleState, rows_of, rule_labels
from tsdb.query.rules.file import read_groups
from tsdb.query.rules.model import AlertingRule, Fault, RecordingRule, Rule, RuleGroup
from tsdb.query.rules.restoration import OUTAGE_TOLERANCE_MS, ForState

__all__ = [
    "ALERTS_FOR_STATE",
    "ALERT_NAME",
    "OUTAGE_TOLERANCE_MS",
    "Alert",
    "AlertBook",
    "AlertState",
    "AlertingRule",
    "BadDocument",
    "Fault",
    "ForState",
    "GroupRun",
    "Health",
    "RecordingRule",
    "Rule",
    "RuleGroup",
    "RuleState",
    "formatted",
    "read_groups",
    "rows_of",
    "rule_labels",
]
