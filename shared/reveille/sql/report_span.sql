-- The last $1 days.
SELECT reveille_now() - make_interval(days => $1) AS begins_at, reveille_now() AS ends_at
