"""The door for those who prefer HTTP to SQL, and the window through which people look.

Owns no state of its own: every request reads or writes rows, so any number of gateways may run.
Writes `documents`, `processing_queue` (INSERT, cancel, redrive, what external servers report),
`processing_servers` (external ones, drain), `containers` and `pools` (an operator's wishes). Reads
everything, results included. Listens to `task_changed` while somebody watches (and holds the lock
that makes the database say it only then), and to `task_ready` for external servers that wait.

It may never run a task, decide about containers, or settle an attempt that the caller does not
hold.

`routes.py` is the table of contents; `route.py` says what a route is; one module per noun has its
handlers and the shapes that go in and out; `store.py` runs the statements of `sql/` and turns the
database's refusals into answers.
"""
