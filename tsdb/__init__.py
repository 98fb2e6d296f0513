"""The time-series room: decode → route → store → query. Other rooms enter by `tsdb.client`."""
