-- Tasks whose holder is gone or holds them too long go back: $1 lease seconds, $2 rows, $3 workers that may die with one.
SELECT r.task_id, r.server_id, r.fate,
    (SELECT q.traceparent FROM processing_queue q WHERE q.id = r.task_id) AS traceparent
FROM reveille_recover_tasks($1::double precision, $2::integer, $3::integer) r
