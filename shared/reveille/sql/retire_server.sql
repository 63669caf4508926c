-- The server $1 in its registration $2 goes away in good order, because $3. With $4 only if it is still draining:
-- an operator or the autoscaler may have called it back.
UPDATE processing_servers SET status = 'inactive', status_reason = $3, current_load = 0, disconnected_at = NULL, updated_at = reveille_now()
WHERE id = $1 AND epoch = $2 AND (NOT $4 OR status = 'draining')
RETURNING id
