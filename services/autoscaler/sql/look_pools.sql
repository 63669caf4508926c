-- What policies go by, a row per pool; of each task type the first $3 waiting tasks, and how many wait behind them, at most $4.
-- $1, $2: the leader's name and epoch. What is held is counted once, and what waits is listed and counted in one walk: beside an
-- old snapshot each walks over all that ever was.
WITH clock AS MATERIALIZED (SELECT reveille_now() AS now),
held AS MATERIALIZED (
    SELECT q.locked_by, q.task_type, count(*) AS tasks FROM processing_queue q WHERE q.status = 'processing' GROUP BY 1, 2
),
line AS MATERIALIZED (
    SELECT t.pool, t.name AS task_type,
        jsonb_agg(jsonb_build_object('task_id', w.id, 'task_type', t.name, 'priority', w.priority,
            'age_seconds', greatest(extract(epoch FROM clock.now - w.since), 0))) FILTER (WHERE w.place <= $3) AS listed,
        count(*) FILTER (WHERE w.place > $3) AS behind,
        greatest(extract(epoch FROM clock.now - max(w.since) FILTER (WHERE w.place > $3)), 0) AS youngest_seconds
    FROM task_types t CROSS JOIN clock CROSS JOIN LATERAL (
        SELECT q.id, q.priority, coalesce(q.claimable_at, q.created_at) AS since,
            row_number() OVER (ORDER BY q.priority DESC, q.id) AS place
        FROM processing_queue q WHERE q.status = 'queued' AND q.task_type = t.name
        ORDER BY q.priority DESC, q.id LIMIT $3::integer + $4::integer) w
    WHERE NOT t.paused GROUP BY t.pool, t.name, clock.now
)
SELECT p.name, p.paused, p.replicas_min, p.replicas_max, p.policy,
    extract(epoch FROM clock.now)::double precision AS now,
    EXISTS (SELECT 1 FROM leaders WHERE name = $1 AND epoch = $2) AS leading,
    coalesce((SELECT jsonb_agg(task ORDER BY l.task_type) FROM line l CROSS JOIN jsonb_array_elements(l.listed) task
        WHERE l.pool = p.name), '[]') AS waiting,
    coalesce((SELECT jsonb_agg(jsonb_build_object('task_type', l.task_type, 'tasks', l.behind, 'age_seconds', l.youngest_seconds)
            ORDER BY l.task_type)
        FROM line l WHERE l.pool = p.name AND l.behind > 0), '[]') AS unlisted,
    (SELECT coalesce(sum(h.tasks), 0)::integer FROM held h JOIN task_types t ON t.name = h.task_type WHERE t.pool = p.name) AS processing,
    others.servers AS other_servers, others.free_slots AS other_free_slots,
    coalesce(decided.policy, '') AS decided_by, coalesce(decided.memory, '{}') AS memory
FROM pools p CROSS JOIN clock
CROSS JOIN LATERAL (
    -- Live servers that serve the pool and are nobody's container: a dedicated machine.
    SELECT count(*)::integer AS servers, coalesce(sum(greatest(s.max_concurrent_tasks - busy.tasks, 0)), 0)::integer AS free_slots
    FROM processing_servers s CROSS JOIN LATERAL (
        SELECT coalesce(sum(h.tasks), 0) AS tasks FROM held h WHERE h.locked_by = s.id) busy
    WHERE s.status = 'active'
      AND (s.pool = p.name OR (s.pool IS NULL AND EXISTS (
          SELECT 1 FROM task_types t WHERE t.pool = p.name AND s.capabilities -> t.name NOT IN ('false', 'null'))))
      AND NOT EXISTS (SELECT 1 FROM containers c WHERE c.state NOT IN ('stopped', 'failed')
                        AND (c.server_id = s.id OR c.name = s.container_id))
) others
LEFT JOIN LATERAL (
    SELECT d.policy, d.memory FROM scaling_decisions d WHERE d.pool = p.name AND d.applied ORDER BY d.id DESC LIMIT 1
) decided ON true
ORDER BY p.name
