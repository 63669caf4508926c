-- What the autoscaler decided last, $1 rows: for the pool $2 (NULL: all).
SELECT id, pool, decided_at, policy, applied, replicas_before, replicas_wanted, reason, inputs
FROM scaling_decisions WHERE $2::varchar IS NULL OR pool = $2 ORDER BY id DESC LIMIT $1
