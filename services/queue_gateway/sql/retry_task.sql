-- Redrive the task $1.
SELECT retry_failed_task($1)
