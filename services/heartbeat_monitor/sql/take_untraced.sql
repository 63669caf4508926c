-- Take up to $1 attempts whose spans nobody could write, with all that the spans say. Those of deleted tasks just go.
WITH taken AS (
    DELETE FROM untraced_attempts
    WHERE lease_token = ANY (ARRAY(SELECT lease_token FROM untraced_attempts ORDER BY lease_token LIMIT $1 FOR UPDATE SKIP LOCKED))
    RETURNING *
)
SELECT q.id AS task_id, t.lease_token, q.document_id, q.task_type, q.pool, q.priority, t.attempt, q.max_retries, q.created_at,
    coalesce(t.claimable_at, q.created_at) AS claimable_at, coalesce(t.started_at, t.ended_at) AS started_at, t.ended_at,
    q.traceparent, q.tracestate, t.previous_traceparent, t.server_id, t.outcome, t.reason, t.error,
    coalesce(s.has_presence, false) AS by_worker, s.last_heartbeat,
    ARRAY(SELECT p.process_traceparent FROM task_dependencies d JOIN processing_queue p ON p.id = d.depends_on_task_id
          WHERE d.dependent_task_id = q.id AND p.process_traceparent IS NOT NULL ORDER BY p.id LIMIT 16) AS parents,
    coalesce((SELECT jsonb_agg(jsonb_build_object('at', extract(epoch FROM i.created_at), 'name', i.step_name, 'status', i.step_status,
                    'percentage', i.progress_percentage) ORDER BY i.id)
              FROM (SELECT * FROM processing_progress g WHERE g.processing_queue_id = q.id AND g.created_at BETWEEN t.started_at AND t.ended_at
                    ORDER BY g.id DESC LIMIT 64) AS i), '[]') AS steps
FROM taken t JOIN processing_queue_all q ON q.id = t.task_id
LEFT JOIN processing_servers s ON s.id = t.server_id
ORDER BY t.lease_token
