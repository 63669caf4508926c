"""The heartbeat monitor: who has fallen silent, what is due, what is stuck.

Owns: the verdict that a server is lost, the return of its tasks, the moment at which a retry is
due, the mark on a container that takes too long, the move of old tasks to the archive, and the
gauges of the whole queue. Reads: processing_queue, processing_servers, task_dependencies,
containers, pg_locks. Writes: processing_servers (status lost, disconnected_at; old rows away),
processing_queue (lost tasks back, retries due, stranded dependents, old tasks away),
processing_queue_archive, task_attempts, containers.stuck_reason. Listens to: task_ready,
server_changed, timer_changed. May never: wait for a lock, end a task that a live server holds, or
call another service.

Each round fetches facts (facts.py), judges them without I/O (verdict.py) and applies the verdict
(ledger.py), whose statements check their reason again. So several monitors may run: what one has
done, another finds done.
"""
