-- Every live container, with the newest server that registered from inside it and what that one holds.
WITH clock AS MATERIALIZED (SELECT reveille_now() AS now),
held AS MATERIALIZED (SELECT locked_by, count(*)::integer AS tasks FROM processing_queue WHERE status = 'processing' GROUP BY 1),
recent AS MATERIALIZED (
    -- Ends of tasks between two looks; the newest tasks will do, idle_since covers the rest.
    SELECT r.completed_by, max(r.completed_at) AS completed_at
    FROM (SELECT q.completed_by, q.completed_at FROM processing_queue q ORDER BY q.id DESC LIMIT 500) r
    WHERE r.completed_at IS NOT NULL GROUP BY r.completed_by
)
SELECT c.id AS container_id, c.name, c.pool, c.slot, c.provider, c.state, c.wish, c.wish_reason, c.waited_for_task_id,
    extract(epoch FROM clock.now - c.state_changed_at)::double precision AS state_seconds,
    extract(epoch FROM clock.now - c.intended_at)::double precision AS age_seconds,
    extract(epoch FROM clock.now - c.creating_at)::double precision AS start_seconds,
    (c.gpu_at IS NOT NULL)::integer + (c.image_at IS NOT NULL)::integer + (c.registered_at IS NOT NULL)::integer AS stages_noted,
    c.ready_at IS NOT NULL AS was_ready, c.idle_since IS NOT NULL AS idle_noted,
    coalesce(extract(epoch FROM clock.now - greatest(c.ready_at, c.idle_since, recent.completed_at)), 0)::double precision AS idle_seconds,
    s.id AS server_id, s.status AS server_status, extract(epoch FROM clock.now - s.updated_at)::double precision AS server_seconds,
    coalesce(s.max_concurrent_tasks, 0) AS slots,
    coalesce(held.tasks, 0) AS held
FROM containers c CROSS JOIN clock
LEFT JOIN LATERAL (
    SELECT s.* FROM processing_servers s
    WHERE (s.id = c.server_id OR s.container_id = c.name) AND coalesce(s.started_at, s.created_at) >= c.intended_at
    ORDER BY coalesce(s.started_at, s.created_at) DESC LIMIT 1
) s ON true
LEFT JOIN held ON held.locked_by = s.id
LEFT JOIN recent ON recent.completed_by = s.id
WHERE c.state NOT IN ('stopped', 'failed')
ORDER BY c.pool, c.slot
