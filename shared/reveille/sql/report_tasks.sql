-- Waits of the tasks that were started, and ends of those that ended, between $1 and $2.
SELECT count(*) FILTER (WHERE w.seconds IS NOT NULL)::integer AS started,
    avg(w.seconds)::double precision AS wait_mean_seconds,
    (avg((w.seconds <= 600)::integer) * 100)::double precision AS within_10_minutes_percent,
    count(*) FILTER (WHERE q.status = 'completed' AND q.completed_at >= $1 AND q.completed_at < $2)::integer AS completed,
    count(*) FILTER (WHERE q.status = 'failed' AND q.completed_at >= $1 AND q.completed_at < $2)::integer AS failed
FROM processing_queue_all q
CROSS JOIN LATERAL (
    SELECT CASE WHEN q.started_at >= $1 AND q.started_at < $2 AND q.claimable_at <= q.started_at
        THEN extract(epoch FROM q.started_at - q.claimable_at) END AS seconds
) AS w
WHERE (q.started_at >= $1 AND q.started_at < $2) OR (q.completed_at >= $1 AND q.completed_at < $2)
