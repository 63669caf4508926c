-- How Postgres bears the load. The horizon is the oldest snapshot or transaction that vacuum must respect; a session of
-- another user shows its age only to a role with pg_read_all_stats.
SELECT pg_notification_queue_usage() AS notify_used,
    coalesce((SELECT extract(epoch FROM max(clock_timestamp() - a.xact_start)) FROM pg_stat_activity a
              WHERE a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL), 0)::double precision AS horizon_seconds,
    coalesce((SELECT max(greatest(age(a.backend_xmin), age(a.backend_xid))) FROM pg_stat_activity a), 0) AS sessions,
    coalesce((SELECT max(greatest(age(s.xmin), age(s.catalog_xmin))) FROM pg_replication_slots s), 0) AS replication_slots,
    coalesce((SELECT max(age(p.transaction)) FROM pg_prepared_xacts p), 0) AS prepared
