-- The server $1 shall finish what it holds and take nothing new. No row: it does not live.
UPDATE processing_servers SET status = 'draining', status_reason = 'drained by an operator', updated_at = reveille_now()
WHERE id = $1 AND status IN ('starting', 'active')
RETURNING id
