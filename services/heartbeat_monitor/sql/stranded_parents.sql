-- Up to $1 parents that have ended (or are gone) while a dependent still waits for them: the backstop of the triggers.
SELECT DISTINCT d.depends_on_task_id AS parent_id
FROM task_dependencies d
JOIN processing_queue c ON c.id = d.dependent_task_id AND c.status = 'blocked'
LEFT JOIN processing_queue p ON p.id = d.depends_on_task_id
WHERE d.satisfied_at IS NULL AND (p.id IS NULL OR p.status IN ('completed', 'failed', 'cancelled'))
ORDER BY parent_id LIMIT $1
