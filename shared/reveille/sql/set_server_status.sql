-- The server $1 in its registration $2 says of itself that it is $3, because $4. No row: it was declared lost, or it is being drained and may not call itself back.
UPDATE processing_servers SET status = $3, status_reason = $4, updated_at = reveille_now(), last_heartbeat = reveille_now()
WHERE id = $1 AND epoch = $2 AND status <> 'lost'
  AND NOT (status = 'draining' AND $3 IN ('starting', 'active'))
RETURNING status
