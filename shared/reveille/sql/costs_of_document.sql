-- What the tasks of the document $1 cost, an attempt's share of each container's time at a time: tasks that ran nowhere that is billed are
-- left out. Boot and idle time belong to no task.
WITH ran AS (
    SELECT q.completed_by AS server_id, q.started_at, q.completed_at AS ended_at
    FROM processing_queue_all q WHERE q.document_id = $1 AND q.completed_by IS NOT NULL
    UNION
    SELECT a.server_id, a.started_at, a.ended_at
    FROM processing_queue q JOIN task_attempts a ON a.task_id = q.id WHERE q.document_id = $1
    UNION
    SELECT q.locked_by, q.started_at, reveille_now() FROM processing_queue q WHERE q.document_id = $1 AND q.status = 'processing'
), spans AS (
    SELECT c.id, min(r.started_at) AS begins_at, max(r.ended_at) AS ends_at
    FROM ran r JOIN containers c ON c.server_id = r.server_id GROUP BY c.id
)
SELECT s.task_id, s.task_type, sum(s.seconds) AS busy_seconds, sum(s.cost_usd) AS cost_usd
FROM spans p CROSS JOIN LATERAL container_segments(p.id, p.begins_at, p.ends_at) s
WHERE s.document_id = $1 GROUP BY s.task_id, s.task_type ORDER BY s.task_id
