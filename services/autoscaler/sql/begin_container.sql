-- The container $3 is about to be asked of its provider; a row that an operator inserted leaves open of which, for what and at what price:
-- provider $4, GPU $5, region $6, spot $7, price $8. Its worker is to register as <name>-<id>, so that no two lives share a server row.
WITH led AS (SELECT 1 FROM leaders WHERE name = $1 AND epoch = $2 FOR SHARE)
UPDATE containers c SET
    state = 'creating', server_id = c.name || '-' || c.id,
    reason = CASE WHEN c.provider = '' THEN coalesce(nullif(c.reason, ''), 'an operator''s wish: start') ELSE c.reason END,
    gpu = CASE WHEN c.provider = '' THEN $5 ELSE c.gpu END,
    region = CASE WHEN c.provider = '' THEN $6 ELSE c.region END,
    spot = CASE WHEN c.provider = '' THEN $7 ELSE c.spot END,
    price_usd_per_hour = CASE WHEN c.provider = '' THEN $8::double precision ELSE c.price_usd_per_hour END,
    provider = CASE WHEN c.provider = '' THEN $4 ELSE c.provider END
FROM led WHERE c.id = $3 AND c.state IN ('intended', 'creating')
RETURNING c.server_id, c.provider, c.gpu, c.region, c.spot
