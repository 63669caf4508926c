-- The edges of the tasks $1: what they wait for, and what waits for them.
SELECT d.dependent_task_id, d.depends_on_task_id, d.dependency_type, d.satisfied_at,
    p.status AS parent_status, p.task_type AS parent_task_type, c.status AS child_status, c.task_type AS child_task_type
FROM task_dependencies d
LEFT JOIN processing_queue_all p ON p.id = d.depends_on_task_id
LEFT JOIN processing_queue_all c ON c.id = d.dependent_task_id
WHERE d.dependent_task_id = ANY ($1::bigint[]) OR d.depends_on_task_id = ANY ($1::bigint[])
ORDER BY d.dependent_task_id, d.depends_on_task_id
LIMIT 2000
