-- doubled: results were not written by the transaction that completed their task
SELECT format('task %s in %s', c.task_id, c.source) AS what FROM chaos_results c
WHERE NOT EXISTS (
    SELECT 1 FROM (SELECT xid FROM chaos_history h WHERE h.task_id = c.task_id AND h.became = 'completed'
                   AND h.by_whom <> 'chaos load' ORDER BY h.id DESC LIMIT 1) AS last
    WHERE last.xid::text::bigint % 4294967296 = c.xid AND c.xids = 1)
