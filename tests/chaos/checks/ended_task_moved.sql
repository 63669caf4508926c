-- doubled: a service moved a task that had ended
SELECT format('task %s: %s → %s by %s', task_id, was, became, by_whom) AS what
FROM chaos_history WHERE was IN ('completed', 'failed', 'cancelled') AND became IS NOT NULL AND was <> became AND by_whom <> 'chaos load'
