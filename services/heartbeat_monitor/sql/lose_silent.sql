-- Declare lost the servers $1 in their registrations $2, because $3; one that has spoken within $4 seconds is spared.
UPDATE processing_servers s SET
    status = 'lost', status_reason = l.reason, current_load = 0, disconnected_at = NULL, updated_at = reveille_now()
FROM unnest($1::varchar[], $2::bigint[], $3::text[]) AS l (id, epoch, reason)
WHERE s.id = ANY (ARRAY(SELECT id FROM processing_servers WHERE id = ANY ($1::varchar[]) ORDER BY id FOR UPDATE SKIP LOCKED))
  AND s.id = l.id AND s.epoch = l.epoch AND s.status IN ('starting', 'active', 'draining')
  AND coalesce(s.last_heartbeat, s.updated_at) <= reveille_now() - make_interval(secs => $4::double precision)
RETURNING s.id
