-- Progress of running tasks, the latest of each: $1 ids, $2 lease tokens, $3 percentages, $4 steps, $5 messages. Returns the tokens that still hold.
-- coalesce: see settle.sql.
WITH held AS MATERIALIZED (  -- the lock order: ascending ids
    SELECT id FROM processing_queue
    WHERE id = ANY ($1::bigint[]) AND lease_token = ANY ($2::bigint[]) AND coalesce(status, '') = 'processing'
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE processing_queue q SET
    progress_percentage = least(greatest(p.percentage, 0), 100), current_step = left(p.step, 255), progress_message = p.message,
    last_progress_update = reveille_now()
FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::text[], $5::text[]) AS p (id, lease_token, percentage, step, message)
WHERE q.id = ANY (ARRAY(SELECT id FROM held)) AND q.id = p.id AND q.lease_token = p.lease_token AND coalesce(q.status, '') = 'processing'
RETURNING q.lease_token
