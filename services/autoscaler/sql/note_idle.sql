-- The containers $3 are busy ($4 false) or idle ($4 true) from now on.
WITH led AS (SELECT 1 FROM leaders WHERE name = $1 AND epoch = $2 FOR SHARE)
UPDATE containers c SET idle_since = CASE WHEN n.idle THEN reveille_now() END
FROM led, unnest($3::bigint[], $4::boolean[]) AS n (id, idle)
WHERE c.id = n.id AND c.state NOT IN ('stopped', 'failed')
RETURNING c.id
