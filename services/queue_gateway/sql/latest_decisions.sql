-- What the autoscaler decided last, $1 rows.
SELECT id, pool, decided_at, policy, applied, replicas_before, replicas_wanted, reason FROM scaling_decisions ORDER BY id DESC LIMIT $1
