-- The connections of the workers $1 are gone: their grace begins.
UPDATE processing_servers SET disconnected_at = reveille_now()
WHERE id = ANY (ARRAY(SELECT id FROM processing_servers WHERE id = ANY ($1::varchar[]) ORDER BY id FOR UPDATE SKIP LOCKED))
  AND disconnected_at IS NULL AND status IN ('starting', 'active', 'draining')
