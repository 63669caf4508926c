-- What the task $1 carries and left behind, beyond its summary.
SELECT q.processing_options, q.depends_on, q.dedupe_key, q.traceparent, q.process_traceparent, q.last_progress_update,
    q.locked_at, q.lock_expires_at, q.lost_count, q.error_count, q.completed_by, q.cancelled_by_task_id,
    q.results_file_path, q.processing_metadata, t.timeout_seconds,
    (q.reveille_history ->> 'archived_at')::timestamptz AS archived_at
FROM processing_queue_all q LEFT JOIN task_types t ON t.name = q.task_type
WHERE q.id = $1
