-- Steps of running tasks into processing_progress: $1 ids, $2 lease tokens, $3 names, $4 statuses, $5 percentages, $6 messages, $7 data.
-- coalesce: see settle.sql.
INSERT INTO processing_progress (processing_queue_id, step_name, step_status, progress_percentage, message, step_data)
SELECT s.id, left(s.step, 255), s.status, least(greatest(s.percentage, 0), 100), s.message, s.data
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::integer[], $6::text[], $7::jsonb[])
    AS s (id, lease_token, step, status, percentage, message, data)
WHERE EXISTS (SELECT 1 FROM processing_queue q WHERE q.id = s.id AND q.lease_token = s.lease_token AND coalesce(q.status, '') = 'processing')
