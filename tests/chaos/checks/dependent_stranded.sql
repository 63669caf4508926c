-- wrong: a dependent was stranded
SELECT format('task %s waits for %s, which is %s', c.id, d.depends_on_task_id, coalesce(p.status, 'gone')) AS what
FROM task_dependencies d
JOIN processing_queue c ON c.id = d.dependent_task_id
LEFT JOIN processing_queue p ON p.id = d.depends_on_task_id
WHERE c.status NOT IN ('completed', 'failed', 'cancelled') AND d.satisfied_at IS NULL AND (p.id IS NULL OR p.status IN ('completed', 'failed', 'cancelled'))
