-- The tasks of the last $1 days as a load: when each became claimable, how long it took, and its pool. Archived ones are among them.
SELECT extract(epoch FROM coalesce(q.claimable_at, q.created_at))::double precision AS arrival_s,
    extract(epoch FROM q.completed_at - q.started_at)::double precision AS service_s,
    q.priority, q.task_type, t.pool
FROM (SELECT id, task_type, priority, status, created_at, claimable_at, started_at, completed_at FROM processing_queue
      UNION ALL
      SELECT id, task_type, priority, status, created_at, claimable_at, started_at, completed_at FROM processing_queue_archive) q
JOIN task_types t ON t.name = q.task_type
WHERE q.status = 'completed' AND q.completed_at > q.started_at
  AND q.completed_at >= reveille_now() - make_interval(days => $1)
ORDER BY 1, q.id
