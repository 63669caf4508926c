-- Containers, the living ones first: of the name $1, the one with the id $3 (NULL: all), $2 rows at most.
SELECT c.id, c.name, c.pool, c.slot, c.provider, c.provider_ref, c.state, c.reason, c.wish, c.wish_reason, c.server_id, c.waited_for_task_id,
    c.gpu, c.price_usd_per_hour::double precision AS price_usd_per_hour, coalesce((c.price_usd_per_hour / 3600
        * extract(epoch FROM coalesce(c.ended_at, reveille_now()) - c.creating_at))::double precision, 0) AS cost_usd,
    c.intended_at, c.creating_at, c.booting_at, c.gpu_at, c.image_at, c.registered_at, c.ready_at, c.draining_at, c.ended_at, c.state_changed_at,
    c.idle_since, c.stuck_reason, c.failure_count, c.last_error
FROM (SELECT * FROM containers WHERE ($1::varchar IS NULL OR name = $1) AND ($3::bigint IS NULL OR id = $3)
      ORDER BY state IN ('stopped', 'failed'), id DESC LIMIT $2) AS c
ORDER BY c.state IN ('stopped', 'failed'), c.id DESC
