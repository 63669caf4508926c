-- Declare lost the workers $1 in their registrations $2, because $3; one whose connection is back is spared.
UPDATE processing_servers s SET
    status = 'lost', status_reason = l.reason, current_load = 0, disconnected_at = NULL, updated_at = reveille_now()
FROM unnest($1::varchar[], $2::bigint[], $3::text[]) AS l (id, epoch, reason)
WHERE s.id = ANY (ARRAY(SELECT id FROM processing_servers WHERE id = ANY ($1::varchar[]) ORDER BY id FOR UPDATE SKIP LOCKED))
  AND s.id = l.id AND s.epoch = l.epoch AND s.status IN ('starting', 'active', 'draining')
  AND s.disconnected_at IS NOT NULL
  AND NOT EXISTS (
    SELECT 1 FROM pg_locks k
    WHERE k.locktype = 'advisory' AND k.classid = 5395021 AND k.objid::bigint = s.presence_key AND k.objsubid = 2
      AND k.granted AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
RETURNING s.id
