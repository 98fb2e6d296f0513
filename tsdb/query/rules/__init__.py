"""Prometheus' rule files: read, checked, evaluated, and tested against series that are written down beside them.

Source: prometheus.io/docs/prometheus/latest/configuration/recording_rules, …/alerting_rules and …/unit_testing_rules;
model/rulefmt and rules/alerting.go of Prometheus 3.
"""
