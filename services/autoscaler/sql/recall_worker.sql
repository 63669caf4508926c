-- A worker that still registers from inside the container $3, of a life before this one, is to leave; its successor registers anew.
WITH led AS (SELECT 1 FROM leaders WHERE name = $1 AND epoch = $2 FOR SHARE)
UPDATE processing_servers s SET status = 'draining', status_reason = 'its container begins anew', updated_at = reveille_now()
FROM led WHERE s.container_id = $3 AND s.status IN ('starting', 'active')
RETURNING s.id
