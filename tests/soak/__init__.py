"""The soak: hundreds of tasks a second for half an hour and more, while one reader keeps a snapshot open.

    python -m tests.soak --minutes 40        (make soak MINUTES=40)

stage.py    what runs: Postgres, the five services under their roles, the reader who never ends
worker.py   the worker services with handlers that do nothing but say when they began
load.py     the backend: so many plain INSERTs a second, come what may
sample.py   what is measured every few seconds: waits, dead rows, sizes, memory
verdict.py  what flat means, and what is not. Pure.
picture.py, page.py
            docs/soak-report.md and its picture

A snapshot that stays open forbids vacuum to remove any row that has died since. It is what makes
queues in Postgres slow: who looks for the next task walks over all that were there before it.
"""
