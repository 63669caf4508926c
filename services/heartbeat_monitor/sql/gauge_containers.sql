-- Containers that cost money or will; one that is stuck is counted as that. A pool without any has 0 that are ready.
SELECT p.name AS pool, CASE WHEN c.stuck_reason IS NOT NULL THEN 'stuck' ELSE coalesce(c.state, 'ready') END AS state,
    count(c.id) AS containers
FROM pools p LEFT JOIN containers c ON c.pool = p.name AND c.state NOT IN ('stopped', 'failed')
GROUP BY 1, 2
