-- Keep a finished part of the task $1, held with the token $2. No row: the lease is gone.
-- coalesce: see settle.sql.
INSERT INTO task_checkpoints (task_id, key, value)
SELECT q.id, $3, $4 FROM processing_queue q WHERE q.id = $1 AND q.lease_token = $2 AND coalesce(q.status, '') = 'processing' FOR SHARE
ON CONFLICT (task_id, key) DO UPDATE SET value = excluded.value, created_at = reveille_now()
RETURNING task_id
