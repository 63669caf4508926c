-- Trace contexts of the tasks that the task $1 depended on, for links.
SELECT p.process_traceparent FROM task_dependencies d JOIN processing_queue p ON p.id = d.depends_on_task_id
WHERE d.dependent_task_id = $1 AND p.process_traceparent IS NOT NULL ORDER BY p.id LIMIT 16
