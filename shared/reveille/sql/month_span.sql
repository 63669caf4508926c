-- The month that begins at $1 (NULL: this one), in UTC; the running month ends now. records_from: since when there are
-- records at all (NULL: there are none), as report_span has it.
WITH month AS (
    SELECT date_trunc('month', coalesce($1::timestamptz, reveille_now()) AT TIME ZONE 'UTC') AS begins
)
SELECT least((SELECT created_at FROM processing_queue ORDER BY id LIMIT 1),
             (SELECT created_at FROM processing_queue_archive ORDER BY id LIMIT 1),
             (SELECT intended_at FROM containers ORDER BY id LIMIT 1)) AS records_from,
    begins AT TIME ZONE 'UTC' AS begins_at,
    least((begins + interval '1 month') AT TIME ZONE 'UTC', reveille_now()) AS ends_at,
    extract(epoch FROM interval '1 month' + begins - begins)::double precision AS month_seconds
FROM month
