-- How long the cold starts of the last $1 days took, in seconds: what a simulated start is drawn from.
SELECT extract(epoch FROM ready_at - creating_at)::double precision AS seconds
FROM containers
WHERE ready_at > creating_at AND ready_at >= reveille_now() - make_interval(days => $1)
ORDER BY id
