-- End attempts: $1 ids, $2 lease tokens, $3 outcomes (done, retry, reject, release), $4 reasons, $5 errors,
-- $6 backoff seconds, $7 metadata, $8 results paths, $9 process traceparents. Returns the tasks it changed; one that is
-- missing was no longer ours, and nothing of it may be written.
WITH ends AS MATERIALIZED (
    SELECT e.*, CASE e.outcome
            WHEN 'done' THEN 'completed' WHEN 'release' THEN 'queued' WHEN 'reject' THEN 'failed'
            ELSE CASE WHEN q.retry_count >= q.max_retries THEN 'failed' ELSE 'retry' END END AS fate,
        q.attempt, q.locked_by, q.started_at
    FROM (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::double precision[],
                $7::jsonb[], $8::text[], $9::text[])
            AS u (id, lease_token, outcome, reason, error, backoff_seconds, metadata, results_path, process_traceparent)
          ORDER BY u.id) AS e  -- the lock order
    CROSS JOIN LATERAL (
        SELECT q.retry_count, q.max_retries, q.attempt, q.locked_by, q.started_at
        FROM processing_queue q
        -- coalesce: no partial index (of what is held) shall look better than the primary key while it is small
        WHERE q.id = e.id AND q.lease_token = e.lease_token AND coalesce(q.status, '') = 'processing' FOR UPDATE
    ) AS q
), kept AS (
    INSERT INTO task_attempts (task_id, attempt, lease_token, server_id, started_at, outcome, reason, error)
    SELECT id, attempt, lease_token, locked_by, started_at,
           CASE WHEN outcome = 'release' THEN 'released' ELSE fate END, reason, error
    FROM ends WHERE outcome <> 'done'
), finished AS (
    DELETE FROM task_checkpoints WHERE task_id = ANY (ARRAY(SELECT id FROM ends WHERE fate = 'completed'))
)
UPDATE processing_queue q SET
    status = e.fate, lease_token = NULL, locked_by = NULL, locked_at = NULL, lock_expires_at = NULL,
    completed_by = CASE WHEN e.fate IN ('completed', 'failed') THEN e.locked_by END,
    completed_at = CASE WHEN e.fate IN ('completed', 'failed') THEN reveille_now() END,
    processing_duration_seconds = CASE WHEN e.fate IN ('completed', 'failed')
        THEN extract(epoch FROM reveille_now() - e.started_at)::integer END,
    progress_percentage = CASE WHEN e.fate = 'completed' THEN 100 ELSE q.progress_percentage END,
    claimable_at = CASE WHEN e.fate = 'queued' THEN reveille_now() ELSE q.claimable_at END,
    attempt = q.attempt - (e.outcome = 'release')::integer,
    retry_count = q.retry_count + (e.fate = 'retry')::integer,
    error_count = q.error_count + (e.outcome IN ('retry', 'reject'))::integer,
    last_error = CASE WHEN e.outcome = 'done' THEN q.last_error ELSE coalesce(e.error, q.last_error) END,
    failure_reason = CASE WHEN e.fate = 'failed' THEN e.reason END,
    next_retry_at = CASE WHEN e.fate = 'retry' THEN reveille_now() + make_interval(secs => e.backoff_seconds) END,
    processing_metadata = coalesce(e.metadata, q.processing_metadata),
    results_file_path = coalesce(e.results_path, q.results_file_path),
    process_traceparent = coalesce(e.process_traceparent, q.process_traceparent)
FROM ends e
WHERE q.id = ANY (ARRAY(SELECT id FROM ends)) AND q.id = e.id
RETURNING q.id AS task_id, q.status, e.outcome
