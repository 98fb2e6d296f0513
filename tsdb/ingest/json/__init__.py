"""The body of `POST /api/v1/series`, the acknowledged way in:

    [{"labels": {"__name__": "room_temperature", "room": "attic"}, "samples": [[1700000000000, 21.5], …]}, …]

Times are epoch milliseconds; values are numbers, or "NaN", "+Inf", "-Inf", which JSON has no numbers for.
"""
