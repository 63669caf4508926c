-- What the containers of each pool have cost today and this month, in UTC.
WITH since AS (
    SELECT date_trunc('day', reveille_now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS today,
        date_trunc('month', reveille_now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS month
), billed AS (
    SELECT c.pool, c.price_usd_per_hour / 3600 AS rate, c.creating_at AS billed_from, coalesce(c.ended_at, reveille_now()) AS billed_to
    FROM containers c, since s WHERE c.creating_at IS NOT NULL AND coalesce(c.ended_at, reveille_now()) > s.month
)
SELECT b.pool,
    coalesce(sum(b.rate * extract(epoch FROM b.billed_to - greatest(b.billed_from, s.today))) FILTER (WHERE b.billed_to > s.today), 0)
        ::double precision AS today_usd,
    sum(b.rate * extract(epoch FROM b.billed_to - greatest(b.billed_from, s.month)))::double precision AS month_usd
FROM billed b, since s GROUP BY b.pool
