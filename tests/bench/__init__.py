"""The benchmark: `make bench` measures Reveille, hand-written SQL and other queues side by side.

One run has one Postgres of its own with the defaults of Postgres (fsync and synchronous_commit on).
A scenario has cases; each round measures every case once, in a new order, so that a disturbance
of the machine hits all alike. What counts is the ratio of medians within one run.

    contestants.py  who takes part, and the SQL by which each is fed and asked
    children/       the worker process of each contestant, all with the same manners
    peers.py        installs the other queues into .bench/, outside our lock files
    scenarios/      what is measured, one module per question
    run.py          rounds; results.py the numbers; page.py and chart.py what is committed
"""
