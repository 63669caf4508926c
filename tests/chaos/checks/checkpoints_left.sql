-- wrong: checkpoints outlived their task's completion
SELECT format('task %s', task_id) AS what FROM task_checkpoints c JOIN processing_queue q ON q.id = c.task_id
WHERE q.status = 'completed'
