-- The attempts of the task $1 that ended otherwise than well, in order.
SELECT attempt, server_id, started_at, ended_at, outcome, reason, error
FROM task_attempts WHERE task_id = $1 ORDER BY lease_token LIMIT 200
