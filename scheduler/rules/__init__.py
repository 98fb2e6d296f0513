"""Prometheus' rule files in the appliance: their groups are evaluated on schedule, each rule after the one before it.

The groups run beside the checks, in threads of their own: the expressions wait for the query process, and templates
and label sets are work for the processor. What an alerting rule finds is handed to its check as any probe's result.

Source: rules/manager.go and rules/group.go of Prometheus 3.
"""
