-- Tasks that the server $1 holds go back unharmed, no attempt is spent; $2: only this one, NULL: all; $3: why.
WITH held AS MATERIALIZED (
    SELECT id, attempt, lease_token, locked_by, claimable_at, started_at, process_traceparent FROM processing_queue
    WHERE locked_by = $1 AND status = 'processing' AND ($2::bigint IS NULL OR id = $2)
    ORDER BY id FOR UPDATE
), kept AS (
    INSERT INTO task_attempts (task_id, attempt, lease_token, server_id, started_at, outcome, reason)
    SELECT id, attempt, lease_token, locked_by, started_at, 'released', $3 FROM held
), untraced AS (
    INSERT INTO untraced_attempts (lease_token, task_id, attempt, server_id, claimable_at, started_at, outcome, reason, previous_traceparent)
    SELECT lease_token, id, attempt, locked_by, claimable_at, started_at, 'released', $3, process_traceparent FROM held
)
UPDATE processing_queue q SET
    status = 'queued', lease_token = NULL, locked_by = NULL, locked_at = NULL, lock_expires_at = NULL,
    claimable_at = reveille_now(), attempt = q.attempt - 1,
    process_traceparent = coalesce(reveille_process_traceparent(q.traceparent, held.lease_token), q.process_traceparent)
FROM held WHERE q.id = held.id
RETURNING q.id
