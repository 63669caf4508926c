-- Up to $1 blocked tasks that wait for nothing.
SELECT q.id FROM processing_queue q
WHERE q.status = 'blocked'
  AND NOT EXISTS (SELECT 1 FROM task_dependencies d WHERE d.dependent_task_id = q.id AND d.satisfied_at IS NULL)
ORDER BY q.id LIMIT $1
