"""Nagios plugins as they are: what they print, what their ranges mean, and how they are run and ended."""
