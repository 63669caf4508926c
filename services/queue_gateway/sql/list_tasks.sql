-- Tasks, newest first; $1 statuses, $2 task types, $3 pool and $4 (ids before this one) may be NULL; $5 rows at most.
SELECT q.id, q.document_id, q.task_type, t.pool, q.status, q.priority, q.progress_percentage, q.current_step, q.progress_message,
    q.created_at, q.claimable_at, q.started_at, q.completed_at, q.next_retry_at, q.processing_duration_seconds,
    q.attempt, q.retry_count, q.max_retries, q.locked_by, q.last_error, q.failure_reason, q.company_id, q.file_path
FROM processing_queue_all q LEFT JOIN task_types t ON t.name = q.task_type
WHERE ($1::varchar[] IS NULL OR q.status = ANY ($1::varchar[]))
  AND ($2::varchar[] IS NULL OR q.task_type = ANY ($2::varchar[]))
  AND ($3::varchar IS NULL OR t.pool = $3)
  AND ($4::bigint IS NULL OR q.id < $4)
ORDER BY q.id DESC
LIMIT $5
