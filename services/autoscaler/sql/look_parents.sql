-- Tasks that are being worked on, or are about to be, and whom each sets free when it is done: those that wait for nothing else. At most
-- $1 that are held, and of each task type the first $2 that wait.
WITH clock AS MATERIALIZED (SELECT reveille_now() AS now),
parents AS MATERIALIZED (
    (SELECT q.id, q.task_type, q.priority, q.started_at FROM processing_queue q WHERE q.status = 'processing' LIMIT $1)
    UNION ALL
    (SELECT w.id, t.name, w.priority, NULL FROM task_types t CROSS JOIN LATERAL (
        SELECT q.id, q.priority FROM processing_queue q
        WHERE q.status = 'queued' AND q.task_type = t.name ORDER BY q.priority DESC, q.id LIMIT $2) w
     WHERE NOT t.paused)
)
SELECT pt.pool, p.task_type,
    greatest(extract(epoch FROM clock.now - p.started_at), 0)::double precision AS running_seconds,
    ct.pool AS child_pool, array_agg(child.task_type::text ORDER BY child.id) AS child_types
FROM parents p CROSS JOIN clock
JOIN task_types pt ON pt.name = p.task_type
CROSS JOIN LATERAL (
    SELECT c.id, c.task_type FROM task_dependencies d JOIN processing_queue c ON c.id = d.dependent_task_id
    WHERE d.depends_on_task_id = p.id AND d.satisfied_at IS NULL AND c.status = 'blocked'
      AND NOT EXISTS (SELECT 1 FROM task_dependencies o
                      WHERE o.dependent_task_id = c.id AND o.satisfied_at IS NULL AND o.depends_on_task_id <> p.id)
    LIMIT 100
) child
JOIN task_types ct ON ct.name = child.task_type
GROUP BY pt.pool, p.id, p.task_type, p.priority, p.started_at, clock.now, ct.pool
ORDER BY (p.started_at IS NULL), p.priority DESC, p.id
