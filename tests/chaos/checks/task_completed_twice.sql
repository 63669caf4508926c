-- doubled: a task was completed more often than it was set back by hand
SELECT format('task %s: %s completions', task_id, count(*) FILTER (WHERE became = 'completed')) AS what
FROM chaos_history GROUP BY task_id
HAVING count(*) FILTER (WHERE became = 'completed' AND was IS DISTINCT FROM 'completed')
     > 1 + count(*) FILTER (WHERE was = 'completed' AND became <> 'completed' AND by_whom = 'chaos load')
