-- What the provider $3 charges now: GPU $4, region $5, spot $6, price $7. What it has no more is forgotten.
WITH led AS (SELECT 1 FROM leaders WHERE name = $1 AND epoch = $2 FOR SHARE),
listed AS (
    SELECT n.* FROM led, unnest($4::text[], $5::text[], $6::boolean[], $7::double precision[]) AS n (gpu, region, spot, usd_per_hour)
),
gone AS (
    DELETE FROM provider_prices p USING led
    WHERE p.provider = $3 AND p.source = 'provider' AND NOT EXISTS (
        SELECT 1 FROM listed n WHERE n.gpu = p.gpu AND n.region IS NOT DISTINCT FROM p.region AND n.spot = p.spot)
)
INSERT INTO provider_prices (provider, gpu, region, spot, usd_per_hour, source)
SELECT $3, n.gpu, n.region, n.spot, n.usd_per_hour, 'provider' FROM listed n
ON CONFLICT (provider, gpu, coalesce(region, ''), spot, source)
    DO UPDATE SET usd_per_hour = excluded.usd_per_hour, read_at = reveille_now()
RETURNING gpu
