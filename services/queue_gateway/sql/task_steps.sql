-- The newest $2 steps of the task $1, in order, wherever they are kept.
SELECT * FROM (
    SELECT id, step_name, step_status, progress_percentage, message, step_data, created_at
    FROM processing_progress WHERE processing_queue_id = $1
    UNION ALL
    SELECT s.id, s.step_name, s.step_status, s.progress_percentage, s.message, s.step_data, s.created_at
    FROM processing_queue_archive a
    CROSS JOIN LATERAL jsonb_populate_recordset(NULL::processing_progress, a.reveille_history -> 'steps') AS s
    WHERE a.id = $1
    ORDER BY id DESC LIMIT $2
) AS newest ORDER BY id
