-- The server $1 in its registration $2 lives, with $3 tasks running: ids $4, tokens $5.
-- Returns no row when it was declared lost; else its status (an operator may have set draining), the tokens among $5 whose
-- tasks are no longer its own, and whether something of the types $6 waits: the backstop of the wake-up, for no query of its own.
-- Due retries are queued on the way, a few at a time, so that they do not hang on the monitor alone.
-- What walks over dead rows, where an old snapshot keeps them, is done only where it can be of use: types by a worker with room,
-- retries in a regular beat (out of turn $6 is NULL), what else it holds ($7) after a claim that failed.
WITH alive AS (
    -- A beat that waited for somebody's lock may come after the good-bye: who has gone has no load.
    UPDATE processing_servers SET current_load = CASE WHEN status = 'inactive' THEN 0 ELSE $3 END, last_heartbeat = reveille_now(), updated_at = reveille_now()
    WHERE id = $1 AND epoch = $2 AND status <> 'lost'
    RETURNING status
), unknown AS (
    -- Claims that were committed while their answer was lost on the way: held by us in the rows, not in fact.
    -- A row that somebody keeps locked waits for the next beat: this one may not wait for it, or the server looks dead.
    UPDATE processing_queue SET status = 'queued', lease_token = NULL, locked_by = NULL, locked_at = NULL,
        lock_expires_at = NULL, claimable_at = reveille_now(), attempt = attempt - 1
    WHERE id = ANY (ARRAY(SELECT id FROM processing_queue
                          WHERE $7::boolean AND locked_by = $1 AND status = 'processing' AND NOT lease_token = ANY ($5::bigint[])
                            AND locked_at < reveille_now() - interval '15 seconds' AND EXISTS (SELECT 1 FROM alive)
                          FOR UPDATE SKIP LOCKED))
), due AS (
    UPDATE processing_queue SET status = 'queued'
    WHERE id = ANY (ARRAY(SELECT id FROM processing_queue WHERE $6::varchar[] IS NOT NULL AND status = 'retry' AND next_retry_at <= reveille_now()
                          ORDER BY next_retry_at LIMIT 50 FOR UPDATE SKIP LOCKED))
)
SELECT alive.status,
    ARRAY(SELECT h.lease_token FROM unnest($4::bigint[], $5::bigint[]) AS h (id, lease_token)
          WHERE NOT EXISTS (SELECT 1 FROM processing_queue q
                            WHERE q.id = h.id AND q.lease_token = h.lease_token AND q.status = 'processing')) AS lost,
    EXISTS (SELECT 1 FROM task_types t JOIN pools p ON p.name = t.pool
            WHERE t.name = ANY ($6::varchar[]) AND NOT t.paused AND NOT p.paused
              AND EXISTS (SELECT 1 FROM processing_queue q WHERE q.status = 'queued' AND q.task_type = t.name)) AS waiting
FROM alive
