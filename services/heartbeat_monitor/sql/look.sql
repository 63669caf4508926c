-- Everything a round judges, as ages in seconds. $1: how long the row of a server long gone is kept, $2: its lease.
-- What is held is walked over once, from the lease token $3 on: beside an old snapshot that is all that ever was (held_floor.py).
-- For the same reason it is asked whether something is queued only where nothing is being worked on: who is busy looks again
-- soon anyway.
-- Times in rows that others write may be infinite, and infinity cannot be subtracted: one such row would end every round.
WITH clock AS MATERIALIZED (SELECT reveille_now() AS now),
held AS MATERIALIZED (
    SELECT l.objid::bigint AS presence_key FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.classid = 5395021 AND l.objsubid = 2 AND l.granted
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
),
working AS MATERIALIZED (
    SELECT count(*)::integer AS tasks, min(q.lock_expires_at) AS first_lock, min(q.lease_token) AS first_token,
        coalesce(bool_or(reveille_has_died(s, q.locked_at, $2::double precision)), false) AS forsaken
    FROM processing_queue q LEFT JOIN processing_servers s ON s.id = q.locked_by
    WHERE q.status = 'processing' AND q.lease_token >= $3
)
SELECT
    coalesce((SELECT jsonb_agg(jsonb_build_object(
            'server_id', s.id, 'epoch', s.epoch, 'has_presence', s.has_presence,
            'present', s.presence_key IN (SELECT presence_key FROM held),
            'silent_seconds', extract(epoch FROM clock.now - greatest(least(coalesce(s.last_heartbeat, s.updated_at), clock.now), clock.now - interval '1 year')),
            'missing_seconds', extract(epoch FROM clock.now - s.disconnected_at)) ORDER BY s.id)
        FROM processing_servers s WHERE s.status IN ('starting', 'active', 'draining')), '[]') AS servers,
    coalesce((SELECT jsonb_agg(jsonb_build_object(
            'container_id', c.id, 'name', c.name, 'state', c.state, 'marked', c.stuck_reason IS NOT NULL,
            'state_seconds', extract(epoch FROM clock.now - c.state_changed_at)) ORDER BY c.id)
        FROM containers c WHERE c.state IN ('intended', 'creating', 'booting', 'draining')), '[]') AS containers,
    working.tasks = 0 AND EXISTS (SELECT 1 FROM processing_queue WHERE status = 'queued') AS queued,
    working.tasks AS processing,
    working.forsaken, working.first_token,
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest_transaction,
    EXISTS (SELECT 1 FROM task_dependencies WHERE satisfied_at IS NULL) AS waiting,
    EXISTS (SELECT 1 FROM untraced_attempts) AS untraced,
    (SELECT extract(epoch FROM greatest(least(next_retry_at, clock.now + interval '1 year'), clock.now) - clock.now)::double precision FROM processing_queue
     WHERE status = 'retry' ORDER BY next_retry_at LIMIT 1) AS retry_in_seconds,
    CASE WHEN working.first_lock IS NOT NULL THEN
        extract(epoch FROM greatest(least(working.first_lock, clock.now + interval '1 year'), clock.now) - clock.now)::double precision
    END AS lock_in_seconds,
    (SELECT extract(epoch FROM min(updated_at) + make_interval(secs => $1::double precision) - clock.now)::double precision
     FROM processing_servers WHERE status IN ('inactive', 'lost')) AS cleaning_in_seconds
FROM clock CROSS JOIN working
