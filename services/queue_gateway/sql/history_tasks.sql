-- What became claimable, began and ended in the last $1 seconds, in $2 parts, of the newest $3 tasks; part 0 is before. `known_from`
-- is where their records begin, NULL when they are all there are. A task that waits again has forgotten its earlier attempts.
WITH span AS (
    SELECT reveille_now() AS ends_at, reveille_now() - make_interval(secs => $1::double precision) AS begins_at
), newest AS MATERIALIZED (
    SELECT id, pool, status, created_at, coalesce(claimable_at, created_at) AS claimable_at, started_at, completed_at
    FROM processing_queue ORDER BY id DESC LIMIT $3::bigint
), known AS (
    SELECT CASE WHEN count(*) = $3::bigint THEN min(created_at) END AS known_from FROM newest
), events AS (
    SELECT n.pool, e.kind, e.at, e.step
    FROM span, newest n, LATERAL (VALUES
        ('waiting', CASE WHEN n.status NOT IN ('blocked', 'retry') THEN n.claimable_at END, 1),
        ('waiting', CASE WHEN n.status NOT IN ('blocked', 'retry', 'queued') THEN coalesce(n.started_at, n.completed_at) END, -1),
        ('running', CASE WHEN n.status NOT IN ('blocked', 'retry', 'queued') THEN n.started_at END, 1),
        ('running', CASE WHEN n.started_at IS NOT NULL THEN n.completed_at END, -1),
        ('done', CASE WHEN n.status = 'completed' THEN n.completed_at END, 1),
        ('failed', CASE WHEN n.status = 'failed' THEN n.completed_at END, 1)
    ) AS e (kind, at, step)
    WHERE (n.completed_at IS NULL OR n.completed_at >= span.begins_at) AND e.at < span.ends_at
), parts AS (
    SELECT e.pool, e.kind, e.step, greatest(0, floor(extract(epoch FROM e.at - s.begins_at)::double precision * $2::integer / $1::double precision)::integer + 1) AS part,
        extract(epoch FROM e.at - s.begins_at)::double precision AS at_seconds
    FROM events e, span s
)
SELECT known.known_from, p.pool, p.kind, p.part, p.steps, p.seconds
FROM known LEFT JOIN (
    SELECT pool, kind, part, sum(step)::double precision AS steps,
        sum(step * (part * $1::double precision / $2::integer - at_seconds))::double precision AS seconds
    FROM parts GROUP BY pool, kind, part
) AS p ON true
