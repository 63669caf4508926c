-- What is being worked on or comes next: $1 of each state at most, $2 of each type that waits. Several picks, because each has an
-- index of its own that finished rows are not in; blocked tasks are left to their document's list.
WITH live AS (
    (SELECT id FROM processing_queue WHERE status = 'processing' ORDER BY id DESC LIMIT $1)
    UNION ALL
    (SELECT next.id FROM task_types t CROSS JOIN LATERAL (
        SELECT id FROM processing_queue WHERE status = 'queued' AND task_type = t.name
        ORDER BY priority DESC, id LIMIT $2) AS next)
    UNION ALL
    (SELECT id FROM processing_queue WHERE status = 'retry' ORDER BY next_retry_at LIMIT $1)
)
SELECT q.id, q.document_id, q.task_type, t.pool, q.status, q.priority, q.progress_percentage, q.current_step, q.progress_message,
    q.created_at, q.claimable_at, q.started_at, q.completed_at, q.next_retry_at, q.processing_duration_seconds,
    q.attempt, q.retry_count, q.max_retries, q.locked_by, q.last_error, q.failure_reason, q.company_id, q.file_path
FROM live JOIN processing_queue q USING (id) LEFT JOIN task_types t ON t.name = q.task_type
ORDER BY q.id DESC
