"""Selections → answers: the step-aligned kernel and, above it, the query languages."""
