"""The autoscaler: how many containers each pool should have, and the life of each container.

Owns: the tables containers, scaling_decisions and leaders, and whatever runs at a provider under
its name prefix. Reads: pools, task_types, processing_queue, processing_servers. Writes besides its
own tables: processing_servers.status (draining, and back). Listens to: task_ready, server_changed,
scaling_changed. May never: stop a container whose worker holds a task (only an operator's stop
does), start two containers under one name, touch a name without its prefix, take missing data for
zero, or call another service.

Each round observes (ledger.py), decides (decide.py: pure, policies by name) and applies (plan.py
turns the decision into moves; lifespan.py says the next step of each container; operations.py
speaks to the provider meanwhile). One of several processes leads (leader.py); every write carries
its epoch, so one that was replaced changes nothing.
"""
