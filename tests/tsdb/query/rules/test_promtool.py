"""Rule files and their unit tests: the verdicts of Debian's promtool, on the same files."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from tsdb.commands import rules
from tsdb.query.rules.template import ExpansionFailed, Template

GOOD = """
groups:
  - name: web
    interval: 30s
    limit: 10
    rules:
      - record: job:requests:rate5m
        expr: sum by (job) (rate(requests_total[5m]))
        labels: {team: infra}
      - alert: Down
        expr: up == 0
        for: 2m
        keep_firing_for: 3m
        labels: {severity: page, where: "{{ $labels.instance }}"}
        annotations:
          summary: "{{ $labels.instance }} of {{ .Labels.job }} is down ({{ $value }})"
"""

FILES = {
    "good": GOOD,
    "empty": "groups: []\n",
    "nothing": "",
    "no groups": "{}\n",
    "not yaml": "groups: [\n",
    "a list": "- a\n",
    "unknown field of the file": "group: []\n",
    "unknown field of a group": "groups: [{name: a, rule: []}]\n",
    "unknown field of a rule": "groups: [{name: a, rules: [{record: b, expr: c, fro: 1m}]}]\n",
    "a hold of 292 years": "groups: [{name: a, rules: [{alert: b, expr: c, for: 292y}]}]\n",
    "a hold of 293 years": "groups: [{name: a, rules: [{alert: b, expr: c, for: 293y}]}]\n",
    "no name": "groups: [{rules: []}]\n",
    "a name twice": "groups: [{name: a}, {name: a}]\n",
    "a field twice": "groups:\n- name: a\n  name: b\n",
    "neither record nor alert": "groups: [{name: a, rules: [{expr: up}]}]\n",
    "both": "groups: [{name: a, rules: [{record: b, alert: c, expr: up}]}]\n",
    "no expression": "groups: [{name: a, rules: [{record: b}]}]\n",
    "a bad expression": "groups: [{name: a, rules: [{record: b, expr: 'sum('}]}]\n",
    "a bad interval": "groups: [{name: a, interval: soon}]\n",
    "a bad for": "groups: [{name: a, rules: [{alert: b, expr: up, for: 5x}]}]\n",
    "for of a record": "groups: [{name: a, rules: [{record: b, expr: up, for: 5m}]}]\n",
    "annotations of a record": "groups: [{name: a, rules: [{record: b, expr: up, annotations: {c: d}}]}]\n",
    "a bad record": "groups: [{name: a, rules: [{record: 'b{c=\"d\"}', expr: up}]}]\n",
    "a reserved label": "groups: [{name: a, rules: [{record: b, expr: up, labels: {__name__: c}}]}]\n",
    "a bad annotation": "groups: [{name: a, rules: [{alert: b, expr: up, annotations: {c-d: e}}]}]\n",
    "an unclosed template": "groups: [{name: a, rules: [{alert: b, expr: up, annotations: {c: '{{ $value'}}]}]\n",
    "an unknown function": "groups: [{name: a, rules: [{alert: b, expr: up, annotations: {c: '{{ nosuch 1 }}'}}]}]\n",
    "an unknown variable": "groups: [{name: a, rules: [{alert: b, expr: up, labels: {c: '{{ $nosuch }}'}}]}]\n",
    "an if without end": "groups: [{name: a, rules: [{alert: b, expr: up, labels: {c: '{{ if true }}x'}}]}]\n",
    "a query": "groups: [{name: a, rules: [{alert: b, expr: up, labels: {c: '{{ query `up` | first | value }}'}}]}]\n",
}


@pytest.mark.parametrize("name", FILES)
def test_check_agrees_with_promtool(tmp_path: Path, name: str) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(FILES[name])
    theirs = promtool("check", "rules", str(path))
    ours = CliRunner().invoke(rules.check, [str(path)])
    assert (ours.exit_code == 0) == (theirs.returncode == 0), (ours.output, theirs.stdout, theirs.stderr)


UNIT = """
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: up{job="web",instance="a:9100"}
        values: 1 0x6 1x4
      - series: up{job="web",instance="b"}
        values: 1x12
      - series: requests_total{job="web"}
        values: 0+60x12
      - series: odd
        values: 1 _ stale 5-1x2 _x2 1e3
    alert_rule_test:
      - {eval_time: 2m, alertname: Down}
      - eval_time: 3m
        alertname: Down
        exp_alerts:
          - exp_labels: {job: web, instance: "a:9100", severity: page, where: "a:9100"}
            exp_annotations: {summary: "a:9100 of web is down (0)"}
      - eval_time: 9m
        alertname: Down
        exp_alerts:
          - exp_labels: {job: web, instance: "a:9100", severity: page, where: "a:9100"}
            exp_annotations: {summary: "a:9100 of web is down (0)"}
      - {eval_time: 12m, alertname: Down}
    promql_expr_test:
      - expr: job:requests:rate5m
        eval_time: 10m
        exp_samples: [{labels: 'job:requests:rate5m{job="web",team="infra"}', value: 1}]
      - expr: odd
        eval_time: 8m
        exp_samples: [{labels: odd, value: 1000}]
      - {expr: odd, eval_time: 2m}
      - expr: ALERTS{alertname="Down"}
        eval_time: 2m
        exp_samples:
          - labels: >-
              ALERTS{alertname="Down",alertstate="pending",instance="a:9100",job="web",severity="page",where="a:9100"}
            value: 1
      - expr: ALERTS_FOR_STATE
        eval_time: 4m
        exp_samples:
          - labels: ALERTS_FOR_STATE{alertname="Down",instance="a:9100",job="web",severity="page",where="a:9100"}
            value: 60
"""
# Each change makes an expectation wrong.
CHANGES = {
    "as it is": ("", ""),
    "another value": ("value: 1000", "value: 1001"),
    "another label": ('instance: "a:9100", severity: page', 'instance: "b:9100", severity: page'),
    "another annotation": ("is down (0)", "is down (1)"),
    "an alert too early": ("{eval_time: 2m, alertname: Down}", "{eval_time: 3m, alertname: Down}"),
    "an alert too late": ("eval_time: 9m", "eval_time: 11m"),
    "an unknown alert": ("eval_time: 3m\n        alertname: Down", "eval_time: 3m\n        alertname: Up"),
    "a missing sample": ("exp_samples: [{labels: odd, value: 1000}]", "exp_samples: []"),
    "a series too many": (
        "{expr: odd, eval_time: 2m}",
        "{expr: odd, eval_time: 2m, exp_samples: [{labels: odd, value: 1}]}",
    ),
    "a bad series": ("series: odd", "series: 'odd{'"),
    "bad points": ("1 _ stale", "1 x stale"),
    "an unknown field": ("eval_time: 8m", "evaltime: 8m"),
    "no such file": ("[rules.yml]", "[nosuch.yml]"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_unit_tests_end_as_in_promtool(tmp_path: Path, name: str) -> None:
    (tmp_path / "rules.yml").write_text(GOOD)
    old, new = CHANGES[name]
    assert old in UNIT
    path = tmp_path / "unit.yml"
    path.write_text(UNIT.replace(old, new, 1) if old else UNIT)
    theirs = promtool("test", "rules", str(path))
    ours = CliRunner().invoke(rules.test, [str(path)])
    assert (ours.exit_code == 0) == (theirs.returncode == 0), (ours.output, theirs.stdout, theirs.stderr)
    assert (ours.exit_code == 0) == (name == "as it is")


TEMPLATES = [  # Expanded for the labels below and the value 1234567.5.
    "{{ $value }}",
    "{{ $labels.job | toUpper }} {{ .Labels.none }}|",
    "{{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} {{ humanizePercentage 0.1234567 }}",
    "{{ humanize 0.00012 }} {{ humanizeDuration 0.00012 }} {{ humanizeDuration 65.7 }}",
    "{{ humanizeDuration -90061 }} {{ humanizeDuration 12.5 }} {{ humanize 1e40 }} {{ humanize -2500 }}",
    "{{ humanizeTimestamp 1435065584.128 }}",
    '{{ printf "%.2f|%8.3f|%-6s|%q|%v|%5d|%x|%t|%%|%g|%e" $value 1.5 "ab" "c" 1.0 42 255 true 0.1 12345.678 }}',
    '{{ printf "%d %s" 1.5 }}',
    '{{ if eq $labels.job "web" }}yes{{ else if gt $value 5.0 }}maybe{{ else }}no{{ end }}',
    "{{ if and (gt $value 5.0) (lt $value 10.0) }}between{{ else }}outside{{ end }}",
    "{{- if not $labels.none }} none {{- end }}   {{/* a comment */}}.",
    "{{ range $name, $text := $labels }}{{ $name }}={{ $text }};{{ end }}",
    '{{ range query "up" | sortByLabel "instance" }}{{ .Labels.instance }}:{{ .Value }},{{ else }}nothing{{ end }}',
    '{{ with query "up{instance=\'a:9100\'}" }}{{ . | first | value }} {{ . | first | label "job" }}{{ end }}',
    "{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}",
    '{{ stripPort "host.example:9100" }} {{ stripDomain "host.example:9100" }} {{ stripDomain "10.0.0.1:80" }}',
    '{{ reReplaceAll "(.*):(\\\\d+)" "$2 on ${1}" $labels.instance }} {{ match "a.*" $labels.instance }}',
    '{{ title "two words" }} {{ len "four" }} {{ index $labels "job" }} {{ parseDuration "1h30m" }}',
    '{{ 1e6 }} {{ 100000.0 }} {{ 0.0001 }} {{ 0.00001 }} {{ 1 }} {{ true }} {{ "a\\tb" }} {{ `raw` }}',
    '{{ print 1 2 "a" "b" 3 }} {{ println "x" 1 }}',
    "{{ $labels.job.nothing }}",
    '{{ first (query "nosuch") }}',
    '{{ humanize "abc" }}',
    '{{ or $labels.none "other" }} {{ and $labels.job "both" }} {{ ne 1 2 }} {{ le 2.5 2.5 }}',
    '{{ range $i, $s := query "up" }}{{ if gt $i 0 }}{{ break }}{{ end }}{{ $i }}{{ end }}',
    '{{ args 1 "b" }} {{ $externalLabels }}',
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_templates_expand_as_in_prometheus(tmp_path: Path, template: str) -> None:
    """What ours gives is written down as what is expected; promtool says whether it is so."""
    rule = {"alert": "A", "expr": "value_of", "annotations": {"text": template}}
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "g", "rules": [rule]}]}))
    series = [{"series": f'{name}{{job="web",instance="{host}"}}', "values": value} for name, host, value in SERIES]
    labels = {"job": "web", "instance": "a:9100"}

    def verdict(text: str) -> bool:
        alert = {"exp_labels": labels, "exp_annotations": {"text": text}}
        case = {"eval_time": "0s", "alertname": "A", "exp_alerts": [alert]}
        body = {"rule_files": ["rules.yml"], "tests": [{"input_series": series, "alert_rule_test": [case]}]}
        path = tmp_path / "unit.yml"
        path.write_text(json.dumps(body))
        done = promtool("test", "rules", str(path))
        shown.append(done.stdout + done.stderr)
        return done.returncode == 0

    shown: list[str] = []
    rows = [({"__name__": name, "job": "web", "instance": host}, float(value)) for name, host, value in SERIES]
    answers = {"up": rows[1:], "up{instance='a:9100'}": rows[1:2], "nosuch": []}
    try:
        text = Template(template).expand(*rows[0], query=answers.__getitem__)
    except ExpansionFailed:
        assert not verdict("what no template gives")
        assert "error expanding template" in shown[-1] or "error executing template" in shown[-1], shown
        return
    assert verdict(text), (text, shown)


SERIES = [("value_of", "a:9100", "1234567.5"), ("up", "a:9100", "1"), ("up", "b", "0")]


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    assert program, "promtool is missing: `make test-tools` installs Debian's prometheus"
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30)
