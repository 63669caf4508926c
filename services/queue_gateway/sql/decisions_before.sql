-- What the autoscaler decided, newest first, $1 rows: for the pool $2 (NULL: all), $3 only those that changed something, before $4.
SELECT id, pool, decided_at, policy, applied, replicas_before, replicas_wanted, reason, inputs
FROM scaling_decisions
WHERE ($2::varchar IS NULL OR pool = $2) AND (NOT $3::boolean OR (applied AND replicas_before <> replicas_wanted)) AND ($4::bigint IS NULL OR id < $4)
ORDER BY id DESC LIMIT $1
