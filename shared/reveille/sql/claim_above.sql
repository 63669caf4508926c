-- As claim.sql, but from floors on: $6 has three ids for each of the types $3, for its priorities 1, 2 and 3. What was
-- claimed below is not walked over again. For times at which vacuum may not remove it, because somebody's snapshot is old
-- (worker/floors.py). Type, priority and id are all bounds of the index scan: 1 µs for each dead row that lies between.
-- And it passes the tasks $7 over, for another server that takes their type, until they have waited 30 seconds for it
-- (worker/elsewhere.py).
WITH picked AS MATERIALIZED (
    SELECT c.id
    FROM (SELECT t.name, f.n::integer AS n
          FROM unnest($3::varchar[]) WITH ORDINALITY AS f (name, n)
          JOIN task_types t ON t.name = f.name JOIN pools p ON p.name = t.pool
          WHERE NOT t.paused AND NOT p.paused
            AND EXISTS (SELECT 1 FROM processing_servers s WHERE s.id = $1 AND s.epoch = $2 AND s.status = 'active')
         ) AS wanted
    CROSS JOIN (VALUES (3), (2), (1)) AS every (priority)
    CROSS JOIN LATERAL (
        SELECT q.id, q.priority FROM processing_queue q
        WHERE q.status = 'queued' AND q.task_type = wanted.name AND q.priority = every.priority
          AND q.id >= ($6::bigint[])[3 * wanted.n - 3 + every.priority]
          AND (q.id <> ALL ($7::bigint[]) OR coalesce(q.claimable_at, q.created_at) < reveille_now() - interval '30 seconds'
               OR NOT EXISTS (SELECT 1 FROM processing_servers o WHERE o.id <> $1 AND o.status = 'active'
                              AND o.capabilities -> wanted.name NOT IN ('false', 'null')))
        ORDER BY q.id LIMIT $4 FOR UPDATE SKIP LOCKED
    ) AS c
    ORDER BY c.priority DESC, c.id LIMIT $4
)
-- What is done with them: see claim.sql.
