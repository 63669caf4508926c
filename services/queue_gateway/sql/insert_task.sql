-- Enqueue: document $1, task type $2, priority $3 (NULL: the type's), file $4, company $5, options $6, parents $7, dedupe key $8,
-- not before $9, retries $10 (NULL: the type's), trace context $11 and $12. The triggers check and fill in the rest.
INSERT INTO processing_queue (document_id, task_type, priority, file_path, company_id, processing_options, depends_on, dedupe_key,
    next_retry_at, max_retries, traceparent, tracestate)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
RETURNING id
