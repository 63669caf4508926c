-- The last $1 days, and since when in them there are records (NULL: there are none).
WITH records AS (
    SELECT least((SELECT created_at FROM processing_queue ORDER BY id LIMIT 1),
                 (SELECT created_at FROM processing_queue_archive ORDER BY id LIMIT 1),
                 (SELECT intended_at FROM containers ORDER BY id LIMIT 1)) AS begin_at
)
SELECT reveille_now() - make_interval(days => $1) AS begins_at, reveille_now() AS ends_at,
    CASE WHEN begin_at IS NOT NULL THEN greatest(begin_at, reveille_now() - make_interval(days => $1)) END AS records_from
FROM records
