-- The server $2 is at $3 percent of the task $1, in the step $4, saying $5. No row: it does not hold the task.
WITH held AS MATERIALIZED (
    SELECT id, progress_percentage FROM processing_queue
    WHERE id = $1 AND locked_by = $2 AND coalesce(status, '') = 'processing' FOR UPDATE
)
SELECT update_task_progress(held.id, coalesce($3::integer, held.progress_percentage), $4, $5) AS changed FROM held
