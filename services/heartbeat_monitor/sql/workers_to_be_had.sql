-- Whether no task has been claimable for more than $1 seconds without any active server that takes its type.
SELECT NOT EXISTS (
    SELECT 1 FROM task_types t JOIN pools p ON p.name = t.pool
    WHERE NOT t.paused AND NOT p.paused
      AND NOT EXISTS (SELECT 1 FROM processing_servers s
                      WHERE s.status = 'active' AND s.capabilities -> t.name NOT IN ('false', 'null'))
      AND EXISTS (SELECT 1 FROM processing_queue q
                  WHERE q.status = 'queued' AND q.task_type = t.name
                    AND q.claimable_at < reveille_now() - make_interval(secs => $1::double precision)))
