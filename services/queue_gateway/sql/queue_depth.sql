-- What lives in the queue, by pool, type and priority. `now` is the database's.
SELECT pool, task_type, priority, queued, processing, blocked, retry, oldest_claimable_at,
    extract(epoch FROM reveille_now() - oldest_claimable_at)::double precision AS oldest_seconds
FROM queue_depth ORDER BY pool, task_type, priority DESC
