-- A provider runs $3 (pool $4, slot $5, provider $6, reference $7) for the server $8, registered at $9, and no row says so. GPU $10, region
-- $11, spot $12, price $13.
WITH led AS (SELECT 1 FROM leaders WHERE name = $1 AND epoch = $2 FOR SHARE)
INSERT INTO containers (name, pool, slot, provider, provider_ref, state, server_id, reason, gpu, region, spot, price_usd_per_hour,
                        intended_at, creating_at, booting_at)
SELECT $3, $4, $5, $6, $7, 'booting', $8, 'adopted: its provider runs it', $10, $11, $12, $13::double precision, $9, $9, $9 FROM led
ON CONFLICT DO NOTHING
RETURNING id
