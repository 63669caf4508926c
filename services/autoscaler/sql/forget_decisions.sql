-- Forget decisions that are older than $3 seconds, among the $4 oldest; the last that was applied to a pool is its policy's memory and
-- stays.
WITH led AS (SELECT 1 FROM leaders WHERE name = $1 AND epoch = $2 FOR SHARE),
oldest AS (SELECT d.id, d.pool, d.applied FROM scaling_decisions d ORDER BY d.id LIMIT $4),
gone AS (
    DELETE FROM scaling_decisions d USING led, oldest o
    WHERE d.id = o.id AND d.decided_at < reveille_now() - make_interval(secs => $3)
      AND (NOT o.applied OR EXISTS (SELECT 1 FROM scaling_decisions n WHERE n.pool = o.pool AND n.applied AND n.id > o.id))
    RETURNING 1
)
SELECT count(*)::integer AS forgotten FROM gone
