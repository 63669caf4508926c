-- What the pools have been through, a row each: seconds by task type, cold starts, gaps with nothing to do. Newest first in, oldest out,
-- so the cost does not grow with the history: at most $1 tasks by id from the queue and the archive, and as many just below the oldest
-- that is claimable (behind a deep backlog the newest ids have not been worked on yet); at most $2 starts a pool.
WITH heads AS MATERIALIZED (
    SELECT min(w.id) AS id FROM task_types t CROSS JOIN generate_series(1, 3) AS p (priority) CROSS JOIN LATERAL (
        SELECT q.id FROM processing_queue q
        WHERE q.status = 'queued' AND q.task_type = t.name AND q.priority = p.priority ORDER BY q.id LIMIT 1) w
),
sample AS MATERIALIZED (
    (SELECT q.id, q.task_type, q.status, q.claimable_at, q.created_at, q.started_at, q.completed_at
     FROM processing_queue q ORDER BY q.id DESC LIMIT $1)
    UNION
    (SELECT q.id, q.task_type, q.status, q.claimable_at, q.created_at, q.started_at, q.completed_at
     FROM processing_queue q WHERE q.id < (SELECT id FROM heads) ORDER BY q.id DESC LIMIT $1)
    UNION ALL
    (SELECT a.id, a.task_type, a.status, a.claimable_at, a.created_at, a.started_at, a.completed_at
     FROM processing_queue_archive a ORDER BY a.id DESC LIMIT $1)
),
worked AS MATERIALIZED (
    SELECT t.pool, s.task_type, s.status, coalesce(s.claimable_at, s.created_at) AS claimable_at, s.started_at, s.completed_at,
        extract(epoch FROM s.completed_at - s.started_at)::double precision AS seconds,
        row_number() OVER (PARTITION BY s.task_type ORDER BY s.completed_at DESC) AS place
    FROM sample s JOIN task_types t ON t.name = s.task_type
    WHERE s.status IN ('completed', 'failed') AND s.completed_at > s.started_at
),
services AS (
    SELECT m.pool, jsonb_object_agg(m.task_type, m.seconds) AS seconds
    FROM (SELECT pool, task_type, avg(seconds) AS seconds FROM worked
          WHERE status = 'completed' AND place <= 100 GROUP BY pool, task_type) m
    GROUP BY m.pool
),
-- A gap: from when everything that had begun was done to when the next task became claimable.
gaps AS (
    SELECT g.pool, array_agg(g.seconds ORDER BY g.claimable_at DESC) FILTER (WHERE g.seconds > 0) AS seconds
    FROM (SELECT w.pool, w.claimable_at, extract(epoch FROM w.claimable_at - max(w.completed_at) OVER (
              PARTITION BY w.pool ORDER BY w.claimable_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING))::double precision AS seconds
          FROM worked w) g
    GROUP BY g.pool
)
SELECT p.name AS pool, coalesce(services.seconds, '{}') AS service_seconds, coalesce(gaps.seconds[1:300], '{}') AS idle_gaps,
    started.seconds AS start_seconds
FROM pools p
LEFT JOIN services ON services.pool = p.name
LEFT JOIN gaps ON gaps.pool = p.name
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(extract(epoch FROM c.ready_at - c.creating_at)::double precision ORDER BY c.id), '{}') AS seconds
    FROM (SELECT c.id, c.ready_at, c.creating_at FROM containers c WHERE c.pool = p.name ORDER BY c.id DESC LIMIT $2) c
    WHERE c.ready_at > c.creating_at
) started
ORDER BY p.name
