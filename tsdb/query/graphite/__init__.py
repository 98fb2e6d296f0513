"""Graphite's render language over stored series: targets, functions, times. Names and answers are graphite-web's.

A target is parsed (grammar), its paths are fetched (fetch) and its functions called (evaluate); functions stand in
families below functions/, one file each, and are data too (registry). Source of what they answer: graphite-web 1.2.
"""
