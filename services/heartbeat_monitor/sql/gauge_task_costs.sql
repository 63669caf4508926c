-- The mean price of a completed task of this calendar month (UTC), per type: its share of its container's busy time, at the
-- container's price. Tasks that shared a container share its time; boot and idle time belong to no task.
WITH done AS (
    SELECT q.task_type, q.completed_by, extract(epoch FROM q.completed_at - q.started_at) AS seconds
    FROM processing_queue q
    WHERE q.status = 'completed' AND q.completed_at >= date_trunc('month', reveille_now(), 'UTC')
), running AS (
    -- How many tasks at once a server worked on, on average: busy seconds over the time in which there was work.
    SELECT c.server_id, max(c.price_usd_per_hour) AS usd_per_hour,
        greatest(sum(d.seconds) / nullif(max(extract(epoch FROM coalesce(c.ended_at, reveille_now()) - c.creating_at)), 0), 1) AS at_once
    FROM containers c JOIN done d ON d.completed_by = c.server_id
    WHERE c.creating_at IS NOT NULL GROUP BY c.server_id
)
SELECT d.task_type, avg(d.seconds * r.usd_per_hour / 3600 / r.at_once)::double precision AS usd
FROM done d JOIN running r ON r.server_id = d.completed_by GROUP BY d.task_type
