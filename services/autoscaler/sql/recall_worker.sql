-- A worker that registered from inside the container $3 before this life of it began is to leave; its successor registers anew.
WITH led AS (SELECT 1 FROM leaders WHERE name = $1 AND epoch = $2 FOR SHARE)
UPDATE processing_servers s SET status = 'draining', status_reason = 'its container begins anew', updated_at = reveille_now()
FROM led, containers c
WHERE c.name = $3 AND c.state NOT IN ('stopped', 'failed') AND s.container_id = c.name AND s.status IN ('starting', 'active')
  AND coalesce(s.started_at, s.created_at) < c.intended_at
RETURNING s.id
