"""The longer commands of the time-series room, a module each; tsdb/cli.py puts them into their groups."""
