-- The attempts of the task $1 that ended otherwise than well, in order, wherever they are kept.
SELECT attempt, server_id, started_at, ended_at, outcome, reason, error
FROM (
    SELECT * FROM task_attempts WHERE task_id = $1
    UNION ALL
    SELECT t.* FROM processing_queue_archive a
    CROSS JOIN LATERAL jsonb_populate_recordset(NULL::task_attempts, a.reveille_history -> 'attempts') AS t
    WHERE a.id = $1
) AS attempts ORDER BY lease_token LIMIT 200
