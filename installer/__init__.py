"""Builds and installs the executable; imports none of the other rooms."""
