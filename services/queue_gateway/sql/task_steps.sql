-- The newest $2 steps of the task $1, in order.
SELECT * FROM (
    SELECT id, step_name, step_status, progress_percentage, message, step_data, created_at
    FROM processing_progress WHERE processing_queue_id = $1 ORDER BY id DESC LIMIT $2
) AS newest ORDER BY id
