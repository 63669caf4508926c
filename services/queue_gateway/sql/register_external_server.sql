-- Enter the external server $1 of the type $2 with the capabilities $3 and $4 tasks at most, container $5; or renew its entry.
-- No row: the id belongs to a worker of ours.
INSERT INTO processing_servers AS s
    (id, server_type, capabilities, max_concurrent_tasks, container_id, status, epoch, last_heartbeat, started_at, current_load, updated_at)
VALUES ($1, $2, $3, $4, $5, 'active', nextval('reveille_server_epoch'), reveille_now(), reveille_now(), 0, reveille_now())
ON CONFLICT (id) DO UPDATE SET
    server_type = excluded.server_type, capabilities = excluded.capabilities,
    max_concurrent_tasks = excluded.max_concurrent_tasks, container_id = coalesce(excluded.container_id, s.container_id),
    status = 'active', status_reason = NULL, epoch = excluded.epoch, last_heartbeat = excluded.last_heartbeat,
    started_at = excluded.started_at, disconnected_at = NULL, updated_at = excluded.updated_at
WHERE NOT s.has_presence
RETURNING status
