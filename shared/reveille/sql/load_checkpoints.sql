SELECT key, value FROM task_checkpoints WHERE task_id = $1 ORDER BY created_at
