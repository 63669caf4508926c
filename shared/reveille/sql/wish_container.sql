-- The operator wishes $2 (drain, stop or keep) of the living container $1, because $3; a trigger tells the autoscaler. No row: it does not live.
UPDATE containers SET wish = $2, wish_reason = $3
WHERE name = $1 AND state NOT IN ('stopped', 'failed')
RETURNING id
