"""StatsD: `name:value|type|@rate`, gathered for a flush interval and then stored under the names that statsd derives.

    requests:1|c                (a counter; |@0.1: one of ten was sent)
    response:320|ms|@0.1        (a timer)
    fuel:-10|g                  (a gauge; with a sign it is a change)
    users:765|s                 (a set: how many different values)
    requests:1|c|#env:prod      (tags become labels)

`columns` reads whole batches a column at a time, `exact` one line at a time: whatever `columns` is not sure of goes
through `exact`, so both always agree. `window` keeps what came since the last flush, `timers` and `flush` derive the
rows, `rules` is what a statsd's config.js decides of that. `door` is the shell: threads, clock, the way to the store.

Source: statsd 0.10.2 (stats.js, lib/process_metrics.js, lib/helpers.js, backends/graphite.js), whose flushed lines are
matched bit for bit. Numbers are read as JavaScript's Number() does. Where statsd falls over its language (a counter
named `constructor`) or sends what carbon then drops (NaN), we count or refuse.
"""
