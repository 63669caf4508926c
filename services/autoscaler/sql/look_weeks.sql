-- In how many of the last $1 weeks work came to a pool in each quarter of an hour of the week: (pool, quarter, weeks); and since how many
-- weeks there are records. Of each quarter of each week at most $2 ended tasks are read.
WITH clock AS MATERIALIZED (
    SELECT floor(extract(epoch FROM reveille_now()) / 900)::bigint AS quarter
), record AS MATERIALIZED (
    SELECT least($1, floor(extract(epoch FROM reveille_now() - least(
        (SELECT q.created_at FROM processing_queue q ORDER BY q.id LIMIT 1),
        (SELECT a.created_at FROM processing_queue_archive a ORDER BY a.id LIMIT 1))) / 604800)::integer) AS weeks
), came AS (
    SELECT t.pool, floor(extract(epoch FROM w.at) / 900)::bigint AS quarter
    FROM clock CROSS JOIN record CROSS JOIN LATERAL generate_series(clock.quarter - 672 * record.weeks, clock.quarter - 1) AS s (quarter)
    CROSS JOIN LATERAL (
        (SELECT q.task_type, coalesce(q.claimable_at, q.created_at) AS at FROM processing_queue q
         WHERE q.completed_at >= to_timestamp(s.quarter * 900) AND q.completed_at < to_timestamp((s.quarter + 1) * 900) LIMIT $2)
        UNION ALL
        (SELECT q.task_type, coalesce(q.claimable_at, q.created_at) FROM processing_queue_archive q
         WHERE q.completed_at >= to_timestamp(s.quarter * 900) AND q.completed_at < to_timestamp((s.quarter + 1) * 900) LIMIT $2)
    ) w JOIN task_types t ON t.name = w.task_type
)
SELECT p.name AS pool, record.weeks, c.quarter, c.seen
FROM pools p CROSS JOIN record LEFT JOIN (
    SELECT n.pool, (n.quarter % 672)::integer AS quarter, count(DISTINCT n.quarter)::integer AS seen
    FROM came n, clock, record WHERE n.quarter >= clock.quarter - 672 * record.weeks
    GROUP BY 1, 2) c ON c.pool = p.name
