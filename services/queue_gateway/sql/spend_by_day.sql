-- What the containers cost on each day between $1 and $2, days without any included.
SELECT day.begins::date AS day,
    coalesce(sum(c.price_usd_per_hour / 3600 * extract(epoch FROM
        least(coalesce(c.ended_at, reveille_now()), (day.begins + interval '1 day') AT TIME ZONE 'UTC')
        - greatest(c.creating_at, day.begins AT TIME ZONE 'UTC'))), 0)::double precision AS cost_usd
FROM generate_series(date_trunc('day', $1::timestamptz AT TIME ZONE 'UTC'),
        ($2::timestamptz - interval '1 microsecond') AT TIME ZONE 'UTC', interval '1 day') AS day (begins)
LEFT JOIN containers c ON c.creating_at < (day.begins + interval '1 day') AT TIME ZONE 'UTC'
    AND coalesce(c.ended_at, reveille_now()) > day.begins AT TIME ZONE 'UTC'
GROUP BY day.begins ORDER BY day.begins
