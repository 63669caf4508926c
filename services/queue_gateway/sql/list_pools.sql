-- Pools: the one named $1, NULL: all.
SELECT p.name, p.paused, p.replicas_min, p.replicas_max, p.policy, p.updated_at,
    ARRAY(SELECT t.name FROM task_types t WHERE t.pool = p.name ORDER BY t.name) AS task_types,
    (SELECT count(*)::integer FROM containers c WHERE c.pool = p.name AND c.state NOT IN ('stopped', 'failed')) AS containers,
    (SELECT count(*)::integer FROM processing_servers s WHERE s.pool = p.name AND s.status = 'active') AS servers_active,
    d.replicas_wanted, d.reason, d.decided_at
FROM pools p LEFT JOIN LATERAL (
    SELECT replicas_wanted, reason, decided_at FROM scaling_decisions WHERE pool = p.name AND applied ORDER BY id DESC LIMIT 1
) d ON true
WHERE $1::varchar IS NULL OR p.name = $1
ORDER BY p.name
