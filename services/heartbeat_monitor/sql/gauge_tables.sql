-- Rows, garbage and size of the tables of this schema, as Postgres counts them.
SELECT relname AS name, n_live_tup AS live, n_dead_tup AS dead, pg_total_relation_size(relid) AS size_bytes
FROM pg_stat_user_tables WHERE schemaname = current_schema()
