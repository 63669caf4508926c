-- Registered servers; one that serves no pool by name is counted under its type. A pool without any has 0 that are active.
SELECT coalesce(s.pool, s.server_type, p.name) AS pool, coalesce(s.status, 'active') AS status, count(s.id) AS servers
FROM pools p FULL JOIN processing_servers s ON s.pool = p.name GROUP BY 1, 2
