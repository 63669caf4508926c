-- Progress of running tasks, the latest of each: $1 ids, $2 lease tokens, $3 percentages, $4 steps, $5 messages. Returns the tokens that still
-- hold; `locked`: somebody keeps the row locked, and nothing of it was written. One forgotten session may not hold up the reports of all.
-- Of those, steps into processing_progress: $6 ids, $7 lease tokens, $8 names, $9 statuses, $10 percentages, $11 messages, $12 data.
-- In one statement, and its commit waits for no disk (ADR 0022): the last report of a task stands between an answer of the model
-- and the next task's first question, and of what a crash takes with it the task's end says the essential.
-- coalesce: see settle.sql.
WITH held AS MATERIALIZED (  -- the lock order: ascending ids
    SELECT id, lease_token FROM processing_queue
    WHERE (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL
      AND id = ANY ($1::bigint[]) AND lease_token = ANY ($2::bigint[]) AND coalesce(status, '') = 'processing'
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
), recorded AS (
    INSERT INTO processing_progress (processing_queue_id, step_name, step_status, progress_percentage, message, step_data)
    SELECT s.id, left(s.step, 255), s.status, least(greatest(s.percentage, 0), 100), s.message, s.data
    FROM unnest($6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::integer[], $11::text[], $12::jsonb[])
        AS s (id, lease_token, step, status, percentage, message, data)
    WHERE s.lease_token = ANY (ARRAY(SELECT lease_token FROM held))
), written AS (
    UPDATE processing_queue q SET
        progress_percentage = least(greatest(p.percentage, 0), 100), current_step = left(p.step, 255), progress_message = p.message,
        last_progress_update = reveille_now()
    FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::text[], $5::text[]) AS p (id, lease_token, percentage, step, message)
    WHERE q.id = ANY (ARRAY(SELECT id FROM held)) AND q.id = p.id AND q.lease_token = p.lease_token AND coalesce(q.status, '') = 'processing'
    RETURNING q.lease_token
)
SELECT lease_token, false AS locked FROM written
UNION ALL
SELECT lease_token, true FROM processing_queue
WHERE (SELECT count(*) FROM held) < cardinality($1::bigint[])  -- as a rule nothing is left to look up
  AND id = ANY ($1::bigint[]) AND NOT id = ANY (ARRAY(SELECT id FROM held))
  AND lease_token = ANY ($2::bigint[]) AND coalesce(status, '') = 'processing'
