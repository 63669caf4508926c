-- The price list; an operator's price goes before the provider's own.
SELECT DISTINCT ON (provider, gpu, region, spot) provider, gpu, region, spot, usd_per_hour::double precision AS usd_per_hour
FROM provider_prices ORDER BY provider, gpu, region, spot, source
