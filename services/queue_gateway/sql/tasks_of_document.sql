-- Tasks of the document $1, newest first; $2 statuses, $3 task types, $4 pool and $5 (ids before this one) may be NULL; $6 rows at most.
SELECT q.id, q.document_id, q.task_type, t.pool, q.status, q.priority, q.progress_percentage, q.current_step, q.progress_message,
    q.created_at, q.claimable_at, q.started_at, q.completed_at, q.next_retry_at, q.processing_duration_seconds,
    q.attempt, q.retry_count, q.max_retries, q.locked_by, q.last_error, q.failure_reason, q.company_id, q.file_path
FROM processing_queue_all q LEFT JOIN task_types t ON t.name = q.task_type
WHERE q.document_id = $1
  AND ($2::varchar[] IS NULL OR q.status = ANY ($2::varchar[]))
  AND ($3::varchar[] IS NULL OR q.task_type = ANY ($3::varchar[]))
  AND ($4::varchar IS NULL OR t.pool = $4)
  AND ($5::bigint IS NULL OR q.id < $5)
ORDER BY q.id DESC
LIMIT $6
