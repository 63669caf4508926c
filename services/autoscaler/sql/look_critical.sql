-- Waiting tasks of the priority $1, of each task type the first $2: cheap to ask again and again while a look is not.
SELECT w.id AS task_id
FROM task_types t CROSS JOIN LATERAL (
    SELECT q.id FROM processing_queue q
    WHERE q.status = 'queued' AND q.task_type = t.name AND q.priority = $1 ORDER BY q.id LIMIT $2
) w
WHERE NOT t.paused
