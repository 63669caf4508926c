-- Change the pool $1: the members of the object $2; a null gives the scaling file's value back. A trigger tells the autoscaler.
UPDATE pools p SET
    paused = coalesce(($2::jsonb ->> 'paused')::boolean, p.paused),
    replicas_min = CASE WHEN $2::jsonb ? 'replicas_min' THEN ($2::jsonb ->> 'replicas_min')::integer ELSE p.replicas_min END,
    replicas_max = CASE WHEN $2::jsonb ? 'replicas_max' THEN ($2::jsonb ->> 'replicas_max')::integer ELSE p.replicas_max END,
    policy = CASE WHEN $2::jsonb ? 'policy' THEN $2::jsonb ->> 'policy' ELSE p.policy END,
    updated_at = reveille_now()
WHERE p.name = $1
RETURNING name
