-- Spans that no report can ask about any more: it goes back a year.
DELETE FROM uptime_spans WHERE ended_at < reveille_now() - interval '400 days'
