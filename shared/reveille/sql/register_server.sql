-- Enter the server $1, or take its row over: a new epoch, so that what its predecessor still writes changes nothing.
INSERT INTO processing_servers AS s
    (id, server_type, container_id, capabilities, max_concurrent_tasks, pool, version, http_url, has_presence,
     status, epoch, last_heartbeat, started_at, current_load, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9,
        $10, nextval('reveille_server_epoch'), reveille_now(), reveille_now(), 0, reveille_now())
ON CONFLICT (id) DO UPDATE SET
    server_type = excluded.server_type, container_id = coalesce(excluded.container_id, s.container_id),
    capabilities = excluded.capabilities, max_concurrent_tasks = excluded.max_concurrent_tasks, pool = excluded.pool,
    version = excluded.version, http_url = excluded.http_url, has_presence = excluded.has_presence,
    status = excluded.status, status_reason = NULL, epoch = excluded.epoch, last_heartbeat = excluded.last_heartbeat,
    started_at = excluded.started_at, current_load = 0, disconnected_at = NULL, updated_at = excluded.updated_at
RETURNING s.epoch, s.presence_key
