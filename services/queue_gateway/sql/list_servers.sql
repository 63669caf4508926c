-- Servers, the living ones first; what they hold is counted, not believed, and in one walk.
WITH held AS MATERIALIZED (SELECT locked_by, count(*)::integer AS tasks FROM processing_queue WHERE status = 'processing' GROUP BY 1)
SELECT s.id, s.server_type, s.pool, s.status, s.status_reason, s.container_id, s.capabilities, s.max_concurrent_tasks,
    coalesce(held.tasks, 0) AS holding,
    s.last_heartbeat, extract(epoch FROM reveille_now() - s.last_heartbeat)::double precision AS silent_seconds,
    s.disconnected_at, s.started_at, s.created_at, s.version, s.http_url, NOT s.has_presence AS external
FROM processing_servers s LEFT JOIN held ON held.locked_by = s.id
WHERE $1::varchar IS NULL OR s.id = $1
ORDER BY s.status NOT IN ('starting', 'active', 'draining'), s.pool NULLS LAST, s.id
LIMIT 500
