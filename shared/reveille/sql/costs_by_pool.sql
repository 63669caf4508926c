-- What containers cost between $1 and $2, by pool. Boot and busy time of one that ran only partly in between count in proportion.
SELECT p.name AS pool, count(c.id)::integer AS containers,
    coalesce(sum(c.seconds), 0)::double precision AS billed_seconds,
    coalesce(sum(c.boot_seconds * c.seconds / nullif(c.billed_seconds, 0)), 0)::double precision AS boot_seconds,
    coalesce(sum(c.busy_seconds * c.seconds / nullif(c.billed_seconds, 0)), 0)::double precision AS busy_seconds,
    coalesce(sum(c.price_usd_per_hour / 3600 * c.seconds), 0)::double precision AS cost_usd
FROM pools p
LEFT JOIN (
    SELECT k.*, extract(epoch FROM least(k.billed_to, $2) - greatest(k.billed_from, $1))::double precision AS seconds
    FROM container_costs k WHERE k.billed_from < $2 AND k.billed_to > $1
) AS c ON c.pool = p.name
GROUP BY p.name ORDER BY p.name
