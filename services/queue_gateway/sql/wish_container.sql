-- The operator wishes $2 (drain or stop) of the living container $1; a trigger tells the autoscaler. No row: it does not live.
UPDATE containers SET wish = $2
WHERE name = $1 AND state NOT IN ('stopped', 'failed')
RETURNING id
