-- The intent comes before the provider is asked: name $3, pool $4, slot $5, provider $6, because $7, for the task $8, GPU $9, region $10,
-- spot $11, price $12.
WITH led AS (SELECT 1 FROM leaders WHERE name = $1 AND epoch = $2 FOR SHARE)
INSERT INTO containers (name, pool, slot, provider, reason, waited_for_task_id, gpu, region, spot, price_usd_per_hour)
SELECT $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::double precision FROM led
ON CONFLICT DO NOTHING
RETURNING id
