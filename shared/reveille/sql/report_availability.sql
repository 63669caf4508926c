-- Between $1 and $2, counted from when each part was first heard of: how long that is, how long all parts were well at once,
-- and each by itself. The last $3 seconds do not count: a part that is well may not have said so yet.
WITH known AS (
    SELECT part, range_agg(tstzrange(began_at, ended_at)) AS up, min(began_at) AS since FROM uptime_spans GROUP BY part
), edges AS (
    SELECT greatest(max(since), $1::timestamptz) AS begin_at, $2::timestamptz - make_interval(secs => $3::double precision) AS end_at
    FROM known HAVING count(*) > 0
), period AS (
    SELECT tstzrange(least(begin_at, end_at), end_at) AS span FROM edges
), counted AS (
    SELECT k.part, k.up * tstzmultirange(p.span) AS up FROM known k CROSS JOIN period p
)
SELECT coalesce(extract(epoch FROM upper(p.span) - lower(p.span)), 0)::double precision AS observed_seconds,
    (SELECT sum(extract(epoch FROM upper(s) - lower(s)))::double precision
     FROM (SELECT range_intersect_agg(up) AS up FROM counted) AS all_parts, unnest(all_parts.up) AS s) AS well_seconds,
    coalesce((SELECT jsonb_object_agg(c.part, coalesce((SELECT sum(extract(epoch FROM upper(s) - lower(s))) FROM unnest(c.up) AS s), 0))
              FROM counted c), '{}') AS parts
FROM period p
