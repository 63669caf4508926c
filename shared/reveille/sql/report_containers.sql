-- Starts and ends of containers between $1 and $2. A start counts from the decision for it.
SELECT count(*) FILTER (WHERE creating_at IS NOT NULL)::integer AS created,
    count(*) FILTER (WHERE ready_at IS NOT NULL)::integer AS became_ready,
    count(*) FILTER (WHERE state = 'failed')::integer AS failed,
    avg(extract(epoch FROM ready_at - intended_at))::double precision AS start_mean_seconds
FROM containers WHERE intended_at >= $1 AND intended_at < $2
