-- doubled: two attempts held one task at the same time
SELECT format('task %s: taken over with token %s by %s', task_id, lease_token, server_id) AS what
FROM chaos_history WHERE was = 'processing' AND became = 'processing'
