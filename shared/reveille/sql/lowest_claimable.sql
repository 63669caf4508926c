-- Of each type $1 and priority the lowest id that can be claimed now; where there is none, the newest task's.
SELECT t.name AS task_type, every.priority, coalesce((
    SELECT q.id FROM processing_queue q
    WHERE q.status = 'queued' AND q.task_type = t.name AND q.priority = every.priority
    ORDER BY q.id LIMIT 1
), newest.id) AS id
FROM unnest($1::varchar[]) AS t (name)
CROSS JOIN (VALUES (1), (2), (3)) AS every (priority)
CROSS JOIN (SELECT coalesce(max(id), 0) AS id FROM processing_queue) AS newest
