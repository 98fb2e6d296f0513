"""Figures, measured from outside: `python -m tests.bench NAME [--json]`. See README.md in this folder."""
