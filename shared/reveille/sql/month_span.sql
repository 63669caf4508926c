-- The month that begins at $1 (NULL: this one), in UTC; the running month ends now.
WITH month AS (
    SELECT date_trunc('month', coalesce($1::timestamptz, reveille_now()) AT TIME ZONE 'UTC') AS begins
)
SELECT begins AT TIME ZONE 'UTC' AS begins_at,
    least((begins + interval '1 month') AT TIME ZONE 'UTC', reveille_now()) AS ends_at,
    extract(epoch FROM interval '1 month' + begins - begins)::double precision AS month_seconds
FROM month
