-- The mean price of a completed task of this calendar month (UTC), per type: its share of its container's busy time, at the
-- container's price, attempts that came to nothing included. Boot and idle time belong to no task.
WITH busy AS (
    SELECT s.task_type, sum(s.cost_usd) AS usd FROM cost_segments s
    WHERE s.segment = 'busy' AND s.day >= (date_trunc('month', reveille_now(), 'UTC') AT TIME ZONE 'UTC')::date
    GROUP BY s.task_type
)
SELECT b.task_type, b.usd / done.tasks AS usd
FROM busy b CROSS JOIN LATERAL (
    SELECT nullif(count(*), 0) AS tasks FROM processing_queue_all q
    WHERE q.task_type = b.task_type AND q.status = 'completed' AND q.completed_at >= date_trunc('month', reveille_now(), 'UTC')
) done
WHERE done.tasks IS NOT NULL
