-- The server $2 says that the task $1 succeeded ($3) or failed; results path $4, error $5, metadata $6. No row: it does not hold the task.
WITH held AS MATERIALIZED (
    SELECT id FROM processing_queue WHERE id = $1 AND locked_by = $2 AND coalesce(status, '') = 'processing' FOR UPDATE
)
SELECT complete_task(held.id, $3, $4, $5, $6) AS changed FROM held
