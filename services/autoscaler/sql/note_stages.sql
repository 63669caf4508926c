-- How far the containers $3 have come up, as their providers ($4 a GPU, $5 the image) and their workers ($6 registered) show: each is
-- dated once, and a later one dates those before it.
WITH led AS (SELECT 1 FROM leaders WHERE name = $1 AND epoch = $2 FOR SHARE)
UPDATE containers c SET
    gpu_at = coalesce(c.gpu_at, CASE WHEN n.gpu OR n.image OR n.registered THEN reveille_now() END),
    image_at = coalesce(c.image_at, CASE WHEN n.image OR n.registered THEN reveille_now() END),
    registered_at = coalesce(c.registered_at, CASE WHEN n.registered THEN reveille_now() END)
FROM led, unnest($3::bigint[], $4::boolean[], $5::boolean[], $6::boolean[]) AS n (id, gpu, image, registered)
WHERE c.id = n.id AND c.state = 'booting'
RETURNING c.id
