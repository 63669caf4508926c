-- What each of the policies $1 decided last in the shadow, per pool, among the pool's newest decisions.
SELECT p.name AS pool, d.policy, d.replicas_wanted, d.memory
FROM pools p CROSS JOIN unnest($1::varchar[]) AS w (policy) CROSS JOIN LATERAL (
    SELECT s.policy, s.replicas_wanted, s.memory
    FROM (SELECT n.id, n.policy, n.applied, n.replicas_wanted, n.memory FROM scaling_decisions n
          WHERE n.pool = p.name ORDER BY n.id DESC LIMIT 1000) s
    WHERE NOT s.applied AND s.policy = w.policy ORDER BY s.id DESC LIMIT 1
) d
