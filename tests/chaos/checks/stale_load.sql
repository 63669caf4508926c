-- wrong: a server counts load that it does not have
SELECT format('server %s (%s) says %s', id, status, current_load) AS what FROM processing_servers
WHERE current_load <> 0
