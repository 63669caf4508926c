"""The chaos suite: real processes under load, a seeded schedule of faults, and a count at the end.

    python -m tests.chaos --seeds 20          (make chaos SEEDS=20)

plan.py     what a seed means: the tasks, what is done to them, the faults. Pure.
stage.py    everything that runs: Postgres, the proxies in front of it, the model server, services
            and the orchestrator that replaces whoever ends (slot.py)
machine.py  what only a machine can give: a full disk, a pulled cable, a wrong clock
faults.py   one function per fault
load.py     the backend: plain INSERTs, cancels, updates, deletes from outside
worker.py, autoscaler.py, seams.py
            services with seams: a task that kills its process, a provider that answers too late
history.py  every transition of every task, noted by a trigger of the suite's own
audit.py, containers.py
            the count: what must hold when the dust has settled
run.py      one seed from beginning to end
report.py   the page about many of them

The schedule is repeatable, the interleaving is not: a seed that failed is run again a few times.
"""
