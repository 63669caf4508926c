-- Whether each part that was ever heard of has said within a beat and a half that it is well.
SELECT part, max(ended_at) >= reveille_now() - interval '90 seconds' AS well FROM uptime_spans GROUP BY part
