-- Registered servers; one that serves no pool by name is counted under its type.
SELECT coalesce(pool, server_type) AS pool, status, count(*) AS servers FROM processing_servers GROUP BY 1, 2
