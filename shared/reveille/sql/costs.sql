-- What containers cost between $1 and $2, added up three ways: by pool, by pool and task type (of what was busy), and by day (UTC). A
-- day that the span cuts counts in proportion.
WITH cut AS (
    SELECT s.container_id, s.pool, s.day, s.segment, s.task_type, s.seconds * share.part AS seconds, s.cost_usd * share.part AS cost_usd
    FROM cost_segments s CROSS JOIN LATERAL (
        SELECT coalesce(extract(epoch FROM least(s.ends_at, $2) - greatest(s.begins_at, $1))
            / nullif(extract(epoch FROM s.ends_at - s.begins_at), 0), 0)::double precision AS part) share
    WHERE s.day BETWEEN ($1::timestamptz AT TIME ZONE 'UTC')::date AND ($2::timestamptz AT TIME ZONE 'UTC')::date AND share.part > 0
)
SELECT c.pool, c.day, c.task_type, count(DISTINCT c.container_id)::integer AS containers,
    coalesce(sum(c.seconds), 0) AS billed_seconds,
    coalesce(sum(c.seconds) FILTER (WHERE c.segment = 'boot'), 0) AS boot_seconds,
    coalesce(sum(c.seconds) FILTER (WHERE c.segment = 'busy'), 0) AS busy_seconds,
    coalesce(sum(c.seconds) FILTER (WHERE c.segment = 'idle'), 0) AS idle_seconds,
    coalesce(sum(c.cost_usd), 0) AS cost_usd,
    coalesce(sum(c.cost_usd) FILTER (WHERE c.segment = 'boot'), 0) AS boot_usd,
    coalesce(sum(c.cost_usd) FILTER (WHERE c.segment = 'busy'), 0) AS busy_usd,
    coalesce(sum(c.cost_usd) FILTER (WHERE c.segment = 'idle'), 0) AS idle_usd
FROM cut c GROUP BY GROUPING SETS ((c.pool), (c.pool, c.task_type), (c.day))
ORDER BY c.pool, c.task_type, c.day
