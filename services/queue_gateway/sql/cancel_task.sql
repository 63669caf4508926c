-- Cancel the task $1 for the reason $2. No row: it is not live (any more).
UPDATE processing_queue SET status = 'cancelled', last_error = $2
WHERE id = $1 AND status IN ('blocked', 'queued', 'processing', 'retry')
RETURNING id
