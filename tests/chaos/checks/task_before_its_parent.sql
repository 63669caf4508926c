-- wrong: a task ran before its parent had ended, and nobody had queued it by hand
SELECT format('task %s before %s', d.dependent_task_id, d.depends_on_task_id) AS what
FROM task_dependencies d
JOIN LATERAL (SELECT min(id) AS id FROM chaos_history h
              WHERE h.task_id = d.dependent_task_id AND h.became = 'processing') AS ran ON ran.id IS NOT NULL
WHERE EXISTS (SELECT 1 FROM chaos_history h WHERE h.task_id = d.depends_on_task_id)
  AND NOT EXISTS (SELECT 1 FROM chaos_history h WHERE h.task_id = d.depends_on_task_id
                  AND (h.became IN ('completed', 'failed', 'cancelled') OR h.became IS NULL) AND h.id < ran.id)
  AND NOT EXISTS (SELECT 1 FROM chaos_history h WHERE h.task_id = d.dependent_task_id AND h.by_whom = 'chaos load'
                  AND h.was = 'blocked' AND h.became = 'queued')
