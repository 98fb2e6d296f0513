"""Graphs as graphite-web draws them: series and wishes in, one SVG out. Pure: no request, no clock."""
