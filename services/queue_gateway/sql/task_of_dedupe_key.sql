-- The live task that holds the dedupe key $1.
SELECT id FROM processing_queue
WHERE dedupe_key = $1 AND status IN ('blocked', 'queued', 'processing', 'retry')
