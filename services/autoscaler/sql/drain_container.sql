-- The container $3 drains, because $4, and its server $5 is told. Unless $6, one whose server holds a task is spared.
WITH led AS (SELECT 1 FROM leaders WHERE name = $1 AND epoch = $2 FOR SHARE),
told AS (
    UPDATE processing_servers s SET status = 'draining', status_reason = $4, updated_at = reveille_now()
    FROM led
    WHERE s.id = $5 AND s.status IN ('starting', 'active', 'draining')
      AND ($6 OR NOT EXISTS (SELECT 1 FROM processing_queue q WHERE q.locked_by = s.id AND q.status = 'processing'))
    RETURNING s.id
)
UPDATE containers c SET state = 'draining', reason = $4, server_id = told.id
FROM told WHERE c.id = $3 AND c.state IN ('ready', 'draining')
RETURNING c.name
