-- The operator withdraws what he wished of the living container $1; the autoscaler is told (a trigger tells it of wishes only).
WITH kept AS (
    UPDATE containers SET wish = NULL, wish_reason = NULL WHERE name = $1 AND state NOT IN ('stopped', 'failed') RETURNING pool
)
SELECT pg_notify('scaling_changed', pool) FROM kept
