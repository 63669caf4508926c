-- Containers that began and ceased to be billed in the last $1 seconds, in $2 parts; part 0 is before. `usd` are prices per second.
WITH span AS (
    SELECT reveille_now() AS ends_at, reveille_now() - make_interval(secs => $1::double precision) AS begins_at
), events AS (
    SELECT c.pool, e.kind, e.at, e.step, s.begins_at
    FROM span s, containers c, LATERAL (VALUES
        ('containers', c.creating_at, 1::double precision), ('containers', c.ended_at, -1),
        ('usd', c.creating_at, (c.price_usd_per_hour / 3600)::double precision), ('usd', c.ended_at, (-c.price_usd_per_hour / 3600)::double precision)
    ) AS e (kind, at, step)
    WHERE c.creating_at IS NOT NULL AND (c.ended_at IS NULL OR c.ended_at >= s.begins_at) AND e.at < s.ends_at
), parts AS (
    SELECT pool, kind, step, greatest(0, floor(extract(epoch FROM at - begins_at)::double precision * $2::integer / $1::double precision)::integer + 1) AS part,
        extract(epoch FROM at - begins_at)::double precision AS at_seconds
    FROM events
)
SELECT pool, kind, part, sum(step)::double precision AS steps,
    sum(step * (part * $1::double precision / $2::integer - at_seconds))::double precision AS seconds
FROM parts GROUP BY pool, kind, part
