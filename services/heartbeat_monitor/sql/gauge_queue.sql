-- Claimable tasks per type and priority, and the age of the oldest. A type of which none waits has a row that says 0.
SELECT t.pool, t.name AS task_type, coalesce(q.priority, t.default_priority) AS priority, count(q.id) AS depth,
    coalesce(max(extract(epoch FROM reveille_now() - coalesce(q.claimable_at, q.created_at))), 0)::double precision AS oldest_seconds
FROM task_types t LEFT JOIN processing_queue q ON q.task_type = t.name AND q.status = 'queued'
GROUP BY t.pool, t.name, coalesce(q.priority, t.default_priority)
