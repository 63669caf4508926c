-- The connections of the workers $1 are there again.
UPDATE processing_servers SET disconnected_at = NULL
WHERE id = ANY (ARRAY(SELECT id FROM processing_servers WHERE id = ANY ($1::varchar[]) ORDER BY id FOR UPDATE SKIP LOCKED))
  AND disconnected_at IS NOT NULL
