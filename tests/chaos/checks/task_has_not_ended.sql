-- lost: a task has not ended
SELECT format('task %s (%s) is %s: %s', id, task_type, status, coalesce(last_error, '-')) AS what
FROM processing_queue WHERE status NOT IN ('completed', 'failed', 'cancelled') ORDER BY id
