-- Containers that cost money or will; one that is stuck is counted as that.
SELECT pool, CASE WHEN stuck_reason IS NULL THEN state ELSE 'stuck' END AS state, count(*) AS containers
FROM containers WHERE state NOT IN ('stopped', 'failed') GROUP BY 1, 2
