-- The containers $1 are stuck, because $2.
UPDATE containers c SET stuck_reason = m.reason
FROM unnest($1::bigint[], $2::text[]) AS m (id, reason)
WHERE c.id = m.id AND c.stuck_reason IS NULL
RETURNING c.name, c.pool, c.stuck_reason
