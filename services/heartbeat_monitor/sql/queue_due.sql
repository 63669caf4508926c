-- Up to $1 tasks whose time has come become claimable.
UPDATE processing_queue SET status = 'queued'
WHERE id = ANY (ARRAY(SELECT id FROM processing_queue WHERE status = 'retry' AND next_retry_at <= reveille_now()
                      ORDER BY next_retry_at LIMIT $1 FOR UPDATE SKIP LOCKED))
RETURNING id
