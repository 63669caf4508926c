-- Rows of servers that have been gone for $1 seconds and hold nothing.
DELETE FROM processing_servers s
WHERE s.status IN ('inactive', 'lost') AND s.updated_at <= reveille_now() - make_interval(secs => $1::double precision)
  AND NOT EXISTS (SELECT 1 FROM processing_queue q WHERE q.locked_by = s.id AND q.status = 'processing')
RETURNING s.id
