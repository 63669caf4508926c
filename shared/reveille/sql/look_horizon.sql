-- What is in flight now has a transaction id below this one: it may have skipped its NOTIFY and commit yet.
-- (The snapshot's xmax would not do: it is the last *completed* id plus one, and the writer in question may lie above it.)
SELECT pg_current_xact_id()::text::bigint AS horizon
