-- wrong: a lease without a running task, or a running task without a lease
SELECT format('task %s is %s, lease %s, held by %s', id, status, lease_token, locked_by) AS what
FROM processing_queue
WHERE (status = 'processing') <> (lease_token IS NOT NULL)
   OR (status <> 'processing' AND (locked_by IS NOT NULL OR lock_expires_at IS NOT NULL))
