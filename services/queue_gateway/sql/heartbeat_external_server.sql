-- The external server $1 lives; one that was given up comes back. Its load is what it holds.
UPDATE processing_servers s SET
    last_heartbeat = reveille_now(), updated_at = reveille_now(),
    status = CASE WHEN s.status = 'draining' THEN s.status ELSE 'active' END,
    status_reason = CASE WHEN s.status = 'draining' THEN s.status_reason END,
    current_load = (SELECT count(*) FROM processing_queue q WHERE q.status = 'processing' AND q.locked_by = s.id)
WHERE s.id = $1 AND NOT s.has_presence
RETURNING s.status
