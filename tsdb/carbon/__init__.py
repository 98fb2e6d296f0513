"""carbon's configuration folder, read as it is and said in Henge's settings. Pure: texts in, settings and notes out.

`retentions` reads `10s:6h,1min:7d` and knows whisper's rules for archives, `sections` reads files of sections in order,
`folder` makes settings of a whole folder and says what it took and what it could not. Rules for names are read by
`rewriting` and `aggregation`; `rulebook` says what all of them make of one name, `relay` only what a relay did.

Source: carbon 1.1.10, lib/carbon/storage.py, and whisper 1.1.10 (parseRetentionDef, validateArchiveList).
"""
