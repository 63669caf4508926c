-- The external server $1 goes away in good order.
UPDATE processing_servers SET status = 'inactive', status_reason = 'unregistered', current_load = 0, updated_at = reveille_now()
WHERE id = $1 AND NOT has_presence
RETURNING id
