-- breaking: no
-- Retention: tasks that ended long ago move to processing_queue_archive, and processing_queue_all shows both.
--
-- Results stay where they are: they name their task, no foreign key holds them. What a backend's own foreign keys hold is
-- not moved at all: a DELETE would fail there, or take the backend's rows along.

-- The month's partition, made beside the table and then attached: that needs no lock that a reader could feel.
CREATE FUNCTION reveille_archive_partition(ended_at timestamptz) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    month timestamp := date_trunc('month', ended_at AT TIME ZONE 'UTC');
    name text := 'processing_queue_archive_' || to_char(month, 'YYYY_MM');
BEGIN
    IF to_regclass(quote_ident(current_schema()) || '.' || name) IS NULL THEN
        EXECUTE format('CREATE TABLE %I (LIKE processing_queue_archive INCLUDING DEFAULTS)', name);
        EXECUTE format('ALTER TABLE processing_queue_archive ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            name, month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
    END IF;
    RETURN name;
END $$;

-- The queue's columns as a list; those that the backend gave its table since, or took from it, are followed first.
CREATE FUNCTION reveille_archive_columns() RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    fresh record;
    former record;
BEGIN
    FOR former IN
        SELECT a.attname AS name FROM pg_attribute a
        WHERE a.attrelid = 'processing_queue_archive'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull
          AND a.attname <> 'reveille_history'
          AND NOT EXISTS (SELECT 1 FROM pg_attribute q WHERE q.attrelid = 'processing_queue'::regclass
                            AND q.attname = a.attname AND NOT q.attisdropped)
    LOOP
        EXECUTE format('ALTER TABLE processing_queue_archive ALTER COLUMN %I DROP NOT NULL', former.name);
    END LOOP;
    FOR fresh IN
        SELECT q.attname AS name, format_type(q.atttypid, q.atttypmod) AS type FROM pg_attribute q
        WHERE q.attrelid = 'processing_queue'::regclass AND q.attnum > 0 AND NOT q.attisdropped
          AND NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = 'processing_queue_archive'::regclass
                            AND a.attname = q.attname AND NOT a.attisdropped)
    LOOP
        EXECUTE format('ALTER TABLE processing_queue_archive ADD COLUMN %I %s', fresh.name, fresh.type);
    END LOOP;
    RETURN (SELECT string_agg(quote_ident(q.attname), ', ' ORDER BY q.attnum) FROM pg_attribute q
            WHERE q.attrelid = 'processing_queue'::regclass AND q.attnum > 0 AND NOT q.attisdropped);
END $$;

-- Of the `rows_max` tasks after `after_id`, those that ended before `ended_before` move. `last_id` is where the next call
-- goes on, NULL when nothing old enough follows; `lowest_left` is the first of these tasks that stays, NULL when none does;
-- `moved` is NULL while another call is at it. Waits for no row's lock.
CREATE FUNCTION reveille_archive_tasks(
    ended_before timestamptz, after_id bigint, rows_max integer,
    OUT moved integer, OUT last_id bigint, OUT lowest_left bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    holders text;
    columns text;
    seen bigint[];
    all_young boolean;
    ids bigint[];
BEGIN
    IF NOT pg_try_advisory_xact_lock(5395020, 5) THEN
        RETURN;
    END IF;
    SELECT string_agg(DISTINCT conrelid::regclass::text, ', ') INTO holders FROM pg_constraint
    WHERE contype = 'f' AND confrelid = 'processing_queue'::regclass
      AND conrelid <> ALL (ARRAY['task_attempts', 'task_checkpoints', 'task_dependencies', 'processing_progress']::regclass[]);
    IF holders IS NOT NULL THEN
        RAISE EXCEPTION 'tasks are not archived: foreign keys of % refer to processing_queue', holders USING
            ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Drop these foreign keys, or leave REVEILLE_ARCHIVE_AFTER_DAYS unset.';
    END IF;

    SELECT array_agg(id), max(id), bool_and(created_at >= ended_before), array_agg(id) FILTER (WHERE
        status IN ('completed', 'failed', 'cancelled') AND completed_at < ended_before
        AND NOT EXISTS (  -- somebody still waits for its word
            SELECT 1 FROM task_dependencies d JOIN processing_queue child ON child.id = d.dependent_task_id
            WHERE d.depends_on_task_id = page.id AND d.satisfied_at IS NULL
              AND child.status IN ('blocked', 'queued', 'processing', 'retry')))
    INTO seen, last_id, all_young, ids
    FROM (SELECT id, status, created_at, completed_at FROM processing_queue WHERE id > after_id ORDER BY id LIMIT rows_max) AS page;
    IF seen IS NULL OR cardinality(seen) < rows_max OR all_young THEN
        last_id := NULL;
    END IF;

    -- An end before the year 1, -infinity above all, has no month to move to: such a row stays.
    ids := ARRAY(SELECT id FROM processing_queue WHERE id = ANY (ids)
                 AND status IN ('completed', 'failed', 'cancelled') AND completed_at < ended_before AND completed_at >= '0001-01-01Z'
                 ORDER BY id FOR UPDATE SKIP LOCKED);
    moved := cardinality(ids);
    lowest_left := (SELECT min(id) FROM (SELECT unnest(seen) EXCEPT SELECT unnest(ids)) AS stays (id));
    IF moved = 0 THEN
        RETURN;
    END IF;
    PERFORM reveille_archive_partition(month) FROM (
        SELECT DISTINCT date_trunc('month', completed_at, 'UTC') AS month FROM processing_queue WHERE id = ANY (ids)) AS months;
    columns := reveille_archive_columns();
    EXECUTE format($move$
        INSERT INTO processing_queue_archive (%1$s, reveille_history)
        SELECT %1$s, jsonb_build_object(
            'archived_at', reveille_now(),
            'attempts', (SELECT coalesce(jsonb_agg(to_jsonb(a) - 'task_id' ORDER BY a.lease_token), '[]')
                         FROM task_attempts a WHERE a.task_id = q.id),
            'steps', (SELECT coalesce(jsonb_agg(to_jsonb(s) - 'processing_queue_id' ORDER BY s.id), '[]')
                      FROM processing_progress s WHERE s.processing_queue_id = q.id),
            'edges', (SELECT coalesce(jsonb_agg(to_jsonb(d) - 'dependent_task_id' ORDER BY d.depends_on_task_id), '[]')
                      FROM task_dependencies d WHERE d.dependent_task_id = q.id))
        FROM processing_queue q WHERE q.id = ANY ($1)$move$, columns) USING ids;
    PERFORM set_config('reveille.archiving', 'on', true);
    DELETE FROM processing_queue WHERE id = ANY (ids);
    PERFORM set_config('reveille.archiving', '', true);
END $$;

-- Months that ended before `ended_before` are dropped whole; their names.
CREATE FUNCTION reveille_forget_archive(ended_before timestamptz) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    partition record;
    dropped text[] := '{}';
BEGIN
    FOR partition IN
        SELECT c.oid::regclass AS tbl, c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'processing_queue_archive'::regclass AND c.relname ~ '^processing_queue_archive_\d{4}_\d{2}$'
        ORDER BY c.relname
    LOOP
        IF (to_date(right(partition.name, 7), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC' <= ended_before THEN
            EXECUTE format('DROP TABLE %s', partition.tbl);
            dropped := dropped || partition.name::text;
        END IF;
    END LOOP;
    RETURN dropped;
END $$;

-- A task that is wanted again comes back as it was, with its attempts, its steps and whom it waited for. False when the
-- archive has no such task.
CREATE FUNCTION reveille_restore_task(task_id bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_variable
DECLARE
    columns text;
    history jsonb;
    waited_since timestamptz;
BEGIN
    SELECT a.reveille_history, a.claimable_at INTO history, waited_since
    FROM processing_queue_archive a WHERE a.id = task_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    SELECT string_agg(quote_ident(q.attname), ', ' ORDER BY q.attnum) INTO columns
    FROM pg_attribute q JOIN pg_attribute a ON a.attrelid = 'processing_queue_archive'::regclass AND a.attname = q.attname
    WHERE q.attrelid = 'processing_queue'::regclass AND q.attnum > 0 AND NOT q.attisdropped AND q.attgenerated = '';
    EXECUTE format('INSERT INTO processing_queue (%1$s) SELECT %1$s FROM processing_queue_archive a WHERE a.id = $1', columns)
        USING task_id;
    UPDATE processing_queue q SET claimable_at = waited_since WHERE q.id = task_id;  -- the insert trigger takes it from history
    INSERT INTO task_attempts
    SELECT (jsonb_populate_record(NULL::task_attempts, entry || jsonb_build_object('task_id', task_id))).*
    FROM jsonb_array_elements(history -> 'attempts') AS entry;
    INSERT INTO processing_progress
    SELECT (jsonb_populate_record(NULL::processing_progress, entry || jsonb_build_object('processing_queue_id', task_id))).*
    FROM jsonb_array_elements(history -> 'steps') AS entry;
    PERFORM set_config('reveille.archiving', 'on', true);
    INSERT INTO task_dependencies
    SELECT (jsonb_populate_record(NULL::task_dependencies, entry || jsonb_build_object('dependent_task_id', task_id))).*
    FROM jsonb_array_elements(history -> 'edges') AS entry;
    PERFORM set_config('reveille.archiving', '', true);
    DELETE FROM processing_queue_archive a WHERE a.id = task_id;
    RETURN true;
END $$;

-- Every task there is, wherever its row is kept.
CREATE VIEW processing_queue_all AS
SELECT
    id, document_id, task_type, pool, status, priority, file_path, company_id, processing_options, depends_on,
    dedupe_key, next_retry_at, traceparent, tracestate, progress_percentage, current_step, progress_message,
    last_progress_update, created_at, claimable_at, started_at, completed_at, processing_duration_seconds, attempt,
    retry_count, max_retries, error_count, lost_count, last_error, failure_reason, locked_by, locked_at,
    lock_expires_at, lease_token, completed_by, cancelled_by_task_id, process_traceparent, results_file_path,
    processing_metadata,
    NULL::jsonb AS reveille_history
FROM processing_queue
UNION ALL
SELECT
    id, document_id, task_type, pool, status, priority, file_path, company_id, processing_options, depends_on,
    dedupe_key, next_retry_at, traceparent, tracestate, progress_percentage, current_step, progress_message,
    last_progress_update, created_at, claimable_at, started_at, completed_at, processing_duration_seconds, attempt,
    retry_count, max_retries, error_count, lost_count, last_error, failure_reason, locked_by, locked_at,
    lock_expires_at, lease_token, completed_by, cancelled_by_task_id, process_traceparent, results_file_path,
    processing_metadata,
    reveille_history
FROM processing_queue_archive;

INSERT INTO reveille_privileges (role_name, privileges, object_kind, object_name)
SELECT role_name, 'SELECT', 'TABLE', unnest(ARRAY['processing_queue_archive', 'processing_queue_all'])
FROM unnest(ARRAY['reveille_backend', 'reveille_monitor', 'reveille_gateway', 'reveille_readonly']) AS role_name
UNION ALL
SELECT 'reveille_monitor', 'EXECUTE', 'FUNCTION', unnest(ARRAY['reveille_archive_tasks', 'reveille_forget_archive']);
