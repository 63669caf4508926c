-- The intent comes before the provider is asked: name $3, pool $4, slot $5, provider $6, because $7, for the task $8, GPU $9, price $10.
WITH led AS (SELECT 1 FROM leaders WHERE name = $1 AND epoch = $2 FOR SHARE)
INSERT INTO containers (name, pool, slot, provider, reason, waited_for_task_id, gpu, price_usd_per_hour)
SELECT $3, $4, $5, $6, $7, $8, $9, $10::double precision FROM led
ON CONFLICT DO NOTHING
RETURNING id
