-- The task $1 that waited for a container: what its trace begins with.
SELECT id AS task_id, created_at, traceparent, tracestate FROM processing_queue WHERE id = $1
