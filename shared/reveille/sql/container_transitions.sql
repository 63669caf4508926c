-- The states that the container $1 has gone through, and why.
SELECT t.state, t.reason, t.at FROM container_transitions t WHERE t.container_id = $1 ORDER BY t.id
