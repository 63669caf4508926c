-- The tasks with the ids $1.
SELECT q.id, q.document_id, q.task_type, t.pool, q.status, q.priority, q.progress_percentage, q.current_step, q.progress_message,
    q.created_at, q.claimable_at, q.started_at, q.completed_at, q.next_retry_at, q.processing_duration_seconds,
    q.attempt, q.retry_count, q.max_retries, q.locked_by, q.last_error, q.failure_reason, q.company_id, q.file_path
FROM processing_queue_all q LEFT JOIN task_types t ON t.name = q.task_type
WHERE q.id = ANY ($1::bigint[])
ORDER BY q.id
