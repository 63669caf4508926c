-- Per pool the replicas that KEDA should bring about: the highest slot of the live rows and those below it.
SELECT p.name AS pool, coalesce(max(c.slot) + 1, 0) AS replicas
FROM pools p
LEFT JOIN containers c ON c.pool = p.name AND c.provider = 'keda' AND c.state NOT IN ('stopped', 'failed')
GROUP BY p.name
