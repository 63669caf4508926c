-- The container $3 goes from one of the states $4 to $5, because $6. $7 its provider's reference, $8 its server, $9 an error, $10 its
-- kind; NULL: as before.
WITH led AS (SELECT 1 FROM leaders WHERE name = $1 AND epoch = $2 FOR SHARE)
UPDATE containers c SET
    state = $5::varchar, reason = $6, provider_ref = coalesce($7, c.provider_ref), server_id = coalesce($8, c.server_id),
    last_error = coalesce($9, c.last_error), trouble = coalesce($10, c.trouble),
    failure_count = c.failure_count + ($5::varchar = 'failed')::integer,
    idle_since = CASE WHEN $5::varchar = 'ready' THEN coalesce(c.idle_since, reveille_now()) ELSE c.idle_since END
FROM led WHERE c.id = $3 AND c.state = ANY ($4::varchar[])
RETURNING c.name, c.pool, c.provider, c.intended_at, c.creating_at, c.booting_at, c.gpu_at, c.image_at, c.registered_at,
    c.ready_at, c.ended_at, c.waited_for_task_id
