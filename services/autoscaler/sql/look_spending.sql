-- This calendar month (UTC) in US dollars per pool, and what an hour costs now.
SELECT p.name AS pool,
    coalesce(sum(c.price_usd_per_hour / 3600 * greatest(extract(epoch FROM
        coalesce(c.ended_at, reveille_now()) - greatest(c.creating_at, date_trunc('month', reveille_now(), 'UTC'))), 0)), 0)::double precision AS spent_usd,
    coalesce(sum(c.price_usd_per_hour) FILTER (WHERE c.state NOT IN ('stopped', 'failed')), 0)::double precision AS usd_per_hour
FROM pools p
LEFT JOIN containers c ON c.pool = p.name AND (c.ended_at IS NULL OR c.ended_at > date_trunc('month', reveille_now(), 'UTC'))
GROUP BY p.name ORDER BY p.name
