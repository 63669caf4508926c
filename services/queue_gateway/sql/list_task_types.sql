-- The routing table.
SELECT name, pool, max_retries, timeout_seconds, default_priority, paused, description FROM task_types ORDER BY pool, name
