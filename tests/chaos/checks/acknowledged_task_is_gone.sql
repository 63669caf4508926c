-- lost: an acknowledged task is gone
SELECT format('task %s', given.id) AS what FROM unnest($1::bigint[]) AS given (id)
WHERE NOT EXISTS (SELECT 1 FROM processing_queue q WHERE q.id = given.id)
  AND NOT EXISTS (SELECT 1 FROM chaos_history h WHERE h.task_id = given.id AND h.became IS NULL)
