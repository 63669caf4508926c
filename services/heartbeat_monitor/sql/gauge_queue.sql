-- Claimable tasks per type and priority, and the age of the oldest.
SELECT t.pool, q.task_type, q.priority, count(*) AS depth,
    max(extract(epoch FROM reveille_now() - coalesce(q.claimable_at, q.created_at)))::double precision AS oldest_seconds
FROM processing_queue q JOIN task_types t ON t.name = q.task_type
WHERE q.status = 'queued' GROUP BY t.pool, q.task_type, q.priority
