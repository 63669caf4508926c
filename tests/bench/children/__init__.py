"""The worker processes of the contestants, all with the same manners.

`<program> install DSN {}` makes the schema. `<program> work DSN OPTIONS` runs one worker until
SIGTERM: it writes `ready` when it listens and, where OPTIONS has `report`, a line with
CLOCK_MONOTONIC in nanoseconds when a task's handler starts. OPTIONS: slots (tasks at once),
batch (how many it takes at a time, where that is a setting of its own), other (it takes only
tasks of another type than those that are enqueued: woken, it finds nothing). Reveille's also: seconds (what a
task takes), ends (a line `end …` too), otlp, ratio (of traces), log_level, blind (no metrics).
"""
