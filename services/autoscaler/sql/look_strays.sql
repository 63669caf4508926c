-- Of the names $1, which a provider runs without a live row of ours, those whose worker is registered and alive.
SELECT DISTINCT ON (s.container_id) s.container_id AS name, s.id AS server_id, coalesce(s.started_at, s.created_at) AS started_at
FROM processing_servers s
WHERE s.container_id = ANY ($1::varchar[]) AND s.status IN ('starting', 'active', 'draining')
ORDER BY s.container_id, coalesce(s.started_at, s.created_at) DESC
