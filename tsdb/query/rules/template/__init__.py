"""Templates of labels and annotations: Go's text/template as far as Prometheus' rules use it.

Source: pkg.go.dev/text/template; prometheus.io/docs/prometheus/latest/configuration/template_reference.
"""

from tsdb.query.rules.template.evaluate import ExpansionFailed, Query, Sample, Template
from tsdb.query.rules.template.parse import BadTemplate

__all__ = ["BadTemplate", "ExpansionFailed", "Query", "Sample", "Template"]
