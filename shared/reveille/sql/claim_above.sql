-- As claim.sql, but from floors on: $6 has three ids for each of the types $3, for its priorities 1, 2 and 3. What was
-- claimed below is not walked over again. For times at which vacuum may not remove it, because somebody's snapshot is old
-- (worker/floors.py). Type, priority and id are all bounds of the index scan: 1 µs for each dead row that lies between.
WITH picked AS MATERIALIZED (
    SELECT c.id
    FROM (SELECT t.name, f.n::integer AS n
          FROM unnest($3::varchar[]) WITH ORDINALITY AS f (name, n)
          JOIN task_types t ON t.name = f.name JOIN pools p ON p.name = t.pool
          WHERE NOT t.paused AND NOT p.paused
            AND EXISTS (SELECT 1 FROM processing_servers s WHERE s.id = $1 AND s.epoch = $2 AND s.status = 'active')
         ) AS wanted
    CROSS JOIN (VALUES (3), (2), (1)) AS every (priority)
    CROSS JOIN LATERAL (
        SELECT q.id, q.priority FROM processing_queue q
        WHERE q.status = 'queued' AND q.task_type = wanted.name AND q.priority = every.priority
          AND q.id >= ($6::bigint[])[3 * wanted.n - 3 + every.priority]
        ORDER BY q.id LIMIT $4 FOR UPDATE SKIP LOCKED
    ) AS c
    ORDER BY c.priority DESC, c.id LIMIT $4
)
UPDATE processing_queue q SET
    status = 'processing', locked_by = $1, locked_at = reveille_now(),
    lock_expires_at = reveille_now() + make_interval(
        secs => (SELECT t.timeout_seconds FROM task_types t WHERE t.name = q.task_type) + $5::double precision),
    lease_token = reveille_new_lease_token(), started_at = reveille_now(), attempt = q.attempt + 1,
    progress_percentage = 0, next_retry_at = NULL
WHERE q.id = ANY (ARRAY(SELECT id FROM picked))
RETURNING q.id AS task_id, q.lease_token, q.document_id, q.task_type, q.priority, q.attempt, q.max_retries,
    (SELECT t.timeout_seconds FROM task_types t WHERE t.name = q.task_type) AS timeout_seconds,
    (SELECT t.stall_seconds FROM task_types t WHERE t.name = q.task_type) AS stall_seconds, q.created_at, coalesce(q.claimable_at, q.created_at) AS claimable_at, q.started_at,
    q.file_path, q.company_id, q.processing_options, q.traceparent, q.tracestate, q.process_traceparent AS previous_traceparent,
    q.depends_on
