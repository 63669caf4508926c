-- What the autoscaler decided last and applied, $1 rows: for the pool $2 (NULL: all).
SELECT id, pool, decided_at, policy, applied, replicas_before, replicas_wanted, reason, inputs
FROM scaling_decisions WHERE applied AND ($2::varchar IS NULL OR pool = $2) ORDER BY id DESC LIMIT $1
