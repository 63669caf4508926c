-- Have the transactions below the horizon $1 all ended?
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= $1::bigint AS settled
