-- What was decided for the pool $3 by the policy $4: $5 replicas before, $6 wanted, because $7, on the facts $8; $9 to remember. $10:
-- whether it is applied.
WITH led AS (SELECT 1 FROM leaders WHERE name = $1 AND epoch = $2 FOR SHARE)
INSERT INTO scaling_decisions (pool, epoch, policy, replicas_before, replicas_wanted, reason, inputs, memory, applied)
SELECT $3, $2, $4, $5, $6, $7, $8, $9, $10 FROM led
RETURNING id
