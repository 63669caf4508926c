-- The part $1 is well, says the process $2: its span goes on, or a new one begins if $3, or if it was silent for $4 seconds.
WITH gone_on AS (
    UPDATE uptime_spans u SET ended_at = reveille_now()
    WHERE u.part = $1 AND u.instance = $2 AND NOT $3
      AND u.began_at = (SELECT max(l.began_at) FROM uptime_spans l WHERE l.part = $1 AND l.instance = $2)
      AND u.ended_at >= reveille_now() - make_interval(secs => $4::double precision)
    RETURNING 1
)
INSERT INTO uptime_spans (part, instance) SELECT $1, $2 WHERE NOT EXISTS (SELECT 1 FROM gone_on)
ON CONFLICT DO NOTHING
