-- May the container $3, last seen in the states $4, be ended? Its server $5 takes no more tasks from now on; one that holds a task is
-- spared unless $6, and so is one whose leader we are not.
WITH led AS (SELECT 1 FROM leaders WHERE name = $1 AND epoch = $2 FOR SHARE),
told AS (
    UPDATE processing_servers s SET status = 'draining', status_reason = 'its container is ended', updated_at = reveille_now()
    FROM led
    WHERE s.id = $5 AND s.status IN ('starting', 'active', 'draining')
      AND ($6 OR NOT EXISTS (SELECT 1 FROM processing_queue q WHERE q.locked_by = s.id AND q.status = 'processing'))
    RETURNING s.id
)
SELECT c.name FROM led, containers c
WHERE c.id = $3 AND c.state = ANY ($4::varchar[])
  AND (EXISTS (SELECT 1 FROM told)
       OR NOT EXISTS (SELECT 1 FROM processing_servers s WHERE s.id = $5 AND s.status IN ('starting', 'active', 'draining')))
