-- Parents because of which the task $1 cannot run: ended otherwise than well, or gone.
SELECT d.depends_on_task_id AS id, coalesce(p.status, 'deleted') AS status
FROM task_dependencies d LEFT JOIN processing_queue_all p ON p.id = d.depends_on_task_id
WHERE d.dependent_task_id = $1 AND d.satisfied_at IS NULL AND d.dependency_type <> 'finished'
  AND (p.id IS NULL OR p.status IN ('failed', 'cancelled'))
ORDER BY d.depends_on_task_id
