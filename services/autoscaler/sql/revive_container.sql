-- The draining container $3 is taken back, because $4, unless its server $5 has left already.
WITH led AS (SELECT 1 FROM leaders WHERE name = $1 AND epoch = $2 FOR SHARE),
told AS (
    UPDATE processing_servers s SET status = 'active', status_reason = $4, updated_at = reveille_now()
    FROM led WHERE s.id = $5 AND s.status = 'draining'
    RETURNING s.id
)
UPDATE containers c SET state = 'ready', reason = $4, idle_since = reveille_now()
FROM told WHERE c.id = $3 AND c.state = 'draining' AND coalesce(c.wish, 'keep') = 'keep'
RETURNING c.name
