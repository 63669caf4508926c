-- breaking: no
-- The four tables that exist before Reveille, and how a database that has them is taken over.
--
-- On an empty database this creates the cores of the four tables. On a database that has them in the old form it converts
-- them in place: ids to bigint, serial to identity, timestamps (UTC) to timestamptz, limits that know only the old words
-- dropped, the old functions dropped so that 0005 can define theirs. Columns, defaults and the mending of rows follow in
-- 0002, the same statements for both kinds of database, so that there is one definition of each.
--
-- What is the backend's own stays: its columns, indexes, foreign keys, triggers, and the views over these tables (they are
-- made anew, because a view pins the types of its columns). 0001 to 0005 are one transaction: whoever works on the
-- database meanwhile waits for a moment and then finds all of it.

CREATE FUNCTION reveille_adoptable() RETURNS regclass[]
LANGUAGE sql STABLE
RETURN ARRAY(SELECT to_regclass(quote_ident(current_schema()) || '.' || name)
             FROM unnest(ARRAY['processing_queue', 'processing_servers', 'task_dependencies', 'processing_progress']) AS name
             WHERE to_regclass(quote_ident(current_schema()) || '.' || name) IS NOT NULL);

-- Views over the tables, views over those, and so on; `depth` says in which order they depend on each other.
CREATE TEMPORARY TABLE reveille_views ON COMMIT DROP AS
WITH RECURSIVE dependents (oid, depth) AS (
    SELECT r.ev_class, 1 FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
      AND d.refobjid = ANY (reveille_adoptable()::oid[])
    UNION
    SELECT r.ev_class, v.depth + 1 FROM dependents v
    JOIN pg_depend d ON d.refobjid = v.oid AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite r ON r.oid = d.objid AND r.ev_class <> v.oid
)
SELECT c.oid, max(v.depth) AS depth, c.relkind, c.relacl, c.relowner, c.reloptions,
    format('%I.%I', n.nspname, c.relname) AS name,
    CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END AS kind,
    pg_get_viewdef(c.oid) AS definition, obj_description(c.oid, 'pg_class') AS comment,
    ARRAY(SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = c.oid) AS indexes,
    ARRAY(SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal) AS triggers
FROM dependents v JOIN pg_class c ON c.oid = v.oid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm')
GROUP BY c.oid, n.nspname;

-- Every lock first, and none waited for while another is held: so this can never be one side of a deadlock, in which the
-- backend might be the one to lose. Tables that foreign keys lead to come first, as a backend inserts document, then task.
DO $$
DECLARE
    target record;
    holds_any boolean := false;
    tries integer;
BEGIN
    FOR target IN
        SELECT relation, min(place) AS place FROM (
            SELECT confrelid::regclass::text AS relation, 1 AS place FROM pg_constraint
            WHERE contype = 'f' AND conrelid = ANY (reveille_adoptable()::oid[]) AND confrelid <> ALL (reveille_adoptable()::oid[])
            UNION ALL SELECT name, 2 FROM reveille_views WHERE relkind = 'v'
            UNION ALL SELECT unnest(reveille_adoptable())::text, 3
            UNION ALL SELECT conrelid::regclass::text, 4 FROM pg_constraint
            WHERE contype = 'f' AND confrelid = ANY (reveille_adoptable()::oid[]) AND conrelid <> ALL (reveille_adoptable()::oid[])
        ) AS relations GROUP BY relation ORDER BY min(place), relation
    LOOP
        tries := 0;
        LOOP
            BEGIN
                EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE %s', target.relation, CASE WHEN holds_any THEN 'NOWAIT' END);
                EXIT;
            EXCEPTION WHEN lock_not_available THEN
                tries := tries + 1;
                IF NOT holds_any OR tries >= 100 THEN
                    RAISE;  -- the migrator lets go of everything and comes back
                END IF;
                PERFORM pg_sleep(0.01);
            END;
        END LOOP;
        holds_any := true;
    END LOOP;
END $$;

SET CONSTRAINTS ALL IMMEDIATE;  -- a deferred check that is still pending forbids ALTER TABLE

-- Names that this and the next files need. A result table of the same name would not have their columns.
DO $$
DECLARE
    taken text;
BEGIN
    SELECT string_agg(name, ', ') INTO taken
    FROM unnest(ARRAY['pools', 'task_types', 'task_attempts', 'task_checkpoints', 'analysis_templates', 'visual_analysis_results',
        'slide_feedback', 'extraction_results', 'template_analysis_results', 'specialized_analysis_results', 'document_results',
        'queue_depth', 'processing_queue_archive', 'processing_queue_all', 'leaders', 'containers', 'scaling_decisions', 'container_costs', 'cost_ledger',
        'cost_segments', 'container_transitions']) AS name
    WHERE to_regclass(quote_ident(current_schema()) || '.' || name) IS NOT NULL;
    IF taken IS NOT NULL THEN
        RAISE EXCEPTION 'this database has relations of its own with names that Reveille needs: %', taken USING
            ERRCODE = 'duplicate_table',
            HINT = 'Rename them (ALTER TABLE … RENAME TO …) or move them to another schema, then migrate again.';
    END IF;
END $$;

DO $$
DECLARE
    old record;
BEGIN
    FOR old IN SELECT * FROM reveille_views ORDER BY depth DESC LOOP
        EXECUTE format('DROP %s %s', old.kind, old.name);
    END LOOP;
END $$;

-- Triggers that name columns, in UPDATE OF or WHEN, pin their types as views do.
CREATE TEMPORARY TABLE reveille_triggers ON COMMIT DROP AS
SELECT t.tgrelid::regclass AS tbl, t.tgname AS name, t.tgfoid AS function, t.tgenabled AS state, pg_get_triggerdef(t.oid) AS definition
FROM pg_trigger t
WHERE t.tgrelid = ANY (reveille_adoptable()::oid[]) AND NOT t.tgisinternal AND (t.tgqual IS NOT NULL OR t.tgattr::text <> '');

DO $$
DECLARE
    old record;
BEGIN
    FOR old IN SELECT * FROM reveille_triggers LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', old.name, old.tbl);
    END LOOP;
END $$;

-- Functions of the old system, whatever their arguments and return types: 0005 defines the ones that stay public. A trigger
-- that runs one of them goes with it.
DO $$
DECLARE
    old record;
BEGIN
    FOR old IN
        SELECT p.oid::regprocedure AS signature, p.prorettype = 'trigger'::regtype AS is_trigger
        FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace
          AND p.prokind IN ('f', 'p')
          AND p.proname IN ('get_next_processing_task', 'update_task_progress', 'complete_task',
                            'retry_failed_task', 'cleanup_expired_locks', 'enqueue_document')
    LOOP
        EXECUTE format('DROP ROUTINE %s %s', old.signature, CASE WHEN old.is_trigger THEN 'CASCADE' END);
    END LOOP;
    DELETE FROM reveille_triggers t WHERE NOT EXISTS (SELECT 1 FROM pg_proc p WHERE p.oid = t.function);
END $$;

-- Foreign keys among the four (0002 has its own: a task's edges and steps go with it, a server may go before its tasks),
-- and CHECKs on columns that are ours: they know the old words only.
DO $$
DECLARE
    old record;
BEGIN
    FOR old IN
        SELECT conrelid::regclass AS tbl, conname FROM pg_constraint
        WHERE conrelid = ANY (reveille_adoptable()::oid[])
          AND (contype = 'c' OR (contype = 'f' AND confrelid = ANY (reveille_adoptable()::oid[])))
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', old.tbl, old.conname);
    END LOOP;
END $$;

-- Text to a JSON object; what is none is kept under the key "unparsed". Backends that encode twice are common.
CREATE FUNCTION reveille_parse_object(source text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
    said jsonb;
BEGIN
    said := nullif(trim(source), '')::jsonb;
    RETURN CASE coalesce(jsonb_typeof(said), 'null')
        WHEN 'object' THEN said
        WHEN 'null' THEN '{}'
        WHEN 'string' THEN reveille_parse_object(said #>> '{}')
        ELSE jsonb_build_object('unparsed', said) END;
EXCEPTION WHEN invalid_text_representation OR untranslatable_character THEN
    RETURN jsonb_build_object('unparsed', source);
END $$;

-- Types, old defaults, old NOT NULLs: one ALTER per table, so that it is written once. Columns that are not ours keep theirs,
-- but may be left out of an INSERT.
DO $$
DECLARE
    col record;
    tbl regclass;
    clauses text[];
    nulls bigint;
BEGIN
    FOREACH tbl IN ARRAY reveille_adoptable() LOOP
        clauses := '{}';
        FOR col IN
            SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS has, wanted.type AS wants, wanted.core,
                   a.attnotnull AS required, a.atthasdef AND a.attgenerated = '' AS has_default, a.attidentity <> '' AS is_identity,
                   a.attgenerated <> '' AS is_generated
            FROM pg_attribute a
            LEFT JOIN (VALUES
                ('processing_queue', 'id', 'bigint', true),
                ('processing_queue', 'document_id', 'bigint', true),
                ('processing_queue', 'task_type', 'character varying(50)', true),
                ('processing_queue', 'priority', 'integer', false),
                ('processing_queue', 'file_path', 'text', false),
                ('processing_queue', 'company_id', 'character varying(255)', false),
                ('processing_queue', 'processing_options', 'jsonb', false),
                ('processing_queue', 'depends_on', 'bigint[]', false),
                ('processing_queue', 'dedupe_key', 'text', false),
                ('processing_queue', 'next_retry_at', 'timestamp with time zone', false),
                ('processing_queue', 'traceparent', 'text', false),
                ('processing_queue', 'tracestate', 'text', false),
                ('processing_queue', 'status', 'character varying(20)', false),
                ('processing_queue', 'progress_percentage', 'integer', false),
                ('processing_queue', 'current_step', 'character varying(255)', false),
                ('processing_queue', 'progress_message', 'text', false),
                ('processing_queue', 'last_progress_update', 'timestamp with time zone', false),
                ('processing_queue', 'created_at', 'timestamp with time zone', false),
                ('processing_queue', 'started_at', 'timestamp with time zone', false),
                ('processing_queue', 'completed_at', 'timestamp with time zone', false),
                ('processing_queue', 'processing_duration_seconds', 'integer', false),
                ('processing_queue', 'retry_count', 'integer', false),
                ('processing_queue', 'max_retries', 'integer', false),
                ('processing_queue', 'error_count', 'integer', false),
                ('processing_queue', 'last_error', 'text', false),
                ('processing_queue', 'locked_by', 'character varying(255)', false),
                ('processing_queue', 'locked_at', 'timestamp with time zone', false),
                ('processing_queue', 'lock_expires_at', 'timestamp with time zone', false),
                ('processing_queue', 'lease_token', 'bigint', false),
                ('processing_queue', 'results_file_path', 'text', false),
                ('processing_queue', 'processing_metadata', 'jsonb', false),
                ('processing_queue', 'pool', 'character varying(50)', false),
                ('processing_servers', 'id', 'character varying(255)', true),
                ('processing_servers', 'server_type', 'character varying(50)', true),
                ('processing_servers', 'container_id', 'character varying(255)', false),
                ('processing_servers', 'status', 'character varying(20)', false),
                ('processing_servers', 'capabilities', 'jsonb', false),
                ('processing_servers', 'current_load', 'integer', false),
                ('processing_servers', 'max_concurrent_tasks', 'integer', false),
                ('processing_servers', 'last_heartbeat', 'timestamp with time zone', false),
                ('processing_servers', 'created_at', 'timestamp with time zone', false),
                ('processing_servers', 'updated_at', 'timestamp with time zone', false),
                ('processing_servers', 'pool', 'character varying(50)', false),
                ('processing_servers', 'version', 'text', false),
                ('processing_servers', 'http_url', 'text', false),
                ('processing_servers', 'started_at', 'timestamp with time zone', false),
                ('task_dependencies', 'id', 'bigint', true),
                ('task_dependencies', 'dependent_task_id', 'bigint', true),
                ('task_dependencies', 'depends_on_task_id', 'bigint', true),
                ('task_dependencies', 'dependency_type', 'character varying(20)', false),
                ('task_dependencies', 'created_at', 'timestamp with time zone', false),
                ('processing_progress', 'id', 'bigint', true),
                ('processing_progress', 'processing_queue_id', 'bigint', true),
                ('processing_progress', 'step_name', 'character varying(255)', false),
                ('processing_progress', 'step_status', 'character varying(20)', false),
                ('processing_progress', 'progress_percentage', 'integer', false),
                ('processing_progress', 'message', 'text', false),
                ('processing_progress', 'step_data', 'jsonb', false),
                ('processing_progress', 'created_at', 'timestamp with time zone', false)
            ) AS wanted (relation, name, type, core) ON wanted.name = a.attname
                AND wanted.relation = (SELECT relname FROM pg_class WHERE oid = a.attrelid)
            WHERE a.attrelid = tbl AND a.attnum > 0 AND NOT a.attisdropped
        LOOP
            IF col.wants IS NULL THEN
                IF col.required AND NOT (col.has_default OR col.is_identity OR col.is_generated) THEN
                    clauses := clauses || format('ALTER COLUMN %I DROP NOT NULL', col.name);
                END IF;
                CONTINUE;
            END IF;
            IF col.has_default AND col.name <> 'id' THEN
                clauses := clauses || format('ALTER COLUMN %I DROP DEFAULT', col.name);
            END IF;
            IF col.required AND NOT col.core THEN
                clauses := clauses || format('ALTER COLUMN %I DROP NOT NULL', col.name);
            END IF;
            IF col.core AND NOT col.required THEN
                EXECUTE format('SELECT count(*) FROM %s WHERE %I IS NULL', tbl, col.name) INTO nulls;
                IF nulls > 0 AND tbl::text LIKE '%processing_queue' THEN
                    RAISE EXCEPTION '% rows of % have no %: nobody can work on them', nulls, tbl, col.name
                        USING HINT = 'Give them one or delete them, then migrate again.';
                ELSIF nulls = 0 THEN
                    clauses := clauses || format('ALTER COLUMN %I SET NOT NULL', col.name);
                END IF;  -- steps and edges of nothing: 0002 sets them aside
            END IF;
            IF col.has <> col.wants THEN
                clauses := clauses || (format('ALTER COLUMN %I TYPE %s USING ', col.name, col.wants) || format(
                    CASE
                        WHEN col.wants = 'bigint' THEN '%I::bigint'
                        WHEN col.wants = 'integer' THEN 'round(%I::numeric)::integer'
                        WHEN col.wants = 'timestamp with time zone' THEN '%I::timestamp AT TIME ZONE ''UTC'''
                        WHEN col.wants = 'jsonb' AND col.has = 'json' THEN '%I::jsonb'
                        WHEN col.wants = 'jsonb' THEN 'reveille_parse_object(%I::text)'
                        WHEN col.wants LIKE 'character varying(%%' THEN '%I::text::' || replace(col.wants, '%', '%%')
                        ELSE '%I::' || col.wants
                    END, col.name));
            END IF;
        END LOOP;
        IF clauses <> '{}' THEN
            EXECUTE format('ALTER TABLE %s %s', tbl, array_to_string(clauses, ', '));
        END IF;
    END LOOP;
END $$;

-- serial to identity: under the name of the old sequence, from where it stood, for those who might use it.
DO $$
DECLARE
    tbl regclass;
    seq regclass;
    seq_name text;
    seq_acl aclitem[];
    next_id bigint;
    seen bigint;
    allowed record;
BEGIN
    FOREACH tbl IN ARRAY reveille_adoptable() LOOP
        CONTINUE WHEN tbl::text LIKE '%processing_servers';
        IF EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = tbl AND attname = 'id' AND attidentity <> '') THEN
            EXECUTE format('ALTER TABLE %s ALTER COLUMN id SET GENERATED BY DEFAULT', tbl);
            CONTINUE;
        END IF;
        SELECT s.oid, s.relname, s.relacl INTO seq, seq_name, seq_acl
        FROM pg_attribute a
        JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
        JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass
        JOIN pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
        WHERE a.attrelid = tbl AND a.attname = 'id';
        EXECUTE format('SELECT coalesce(max(id), 0) + 1 FROM %s', tbl) INTO next_id;
        IF seq IS NOT NULL THEN
            EXECUTE format('SELECT last_value + is_called::integer FROM %s', seq) INTO seen;
            next_id := greatest(next_id, seen);
        END IF;
        EXECUTE format('ALTER TABLE %s ALTER COLUMN id DROP DEFAULT', tbl);
        IF seq IS NOT NULL THEN
            EXECUTE format('DROP SEQUENCE %s', seq);
        END IF;
        EXECUTE format('ALTER TABLE %s ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (START WITH %s)', tbl, next_id);
        IF seq IS NOT NULL THEN
            seq := pg_get_serial_sequence(tbl::text, 'id')::regclass;
            IF seq_name <> (SELECT relname FROM pg_class WHERE oid = seq) THEN
                EXECUTE format('ALTER SEQUENCE %s RENAME TO %I', seq, seq_name);
            END IF;
            FOR allowed IN
                SELECT privilege_type AS privilege, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS grantee
                FROM aclexplode(seq_acl)
            LOOP
                EXECUTE format('GRANT %s ON SEQUENCE %s TO %s', allowed.privilege, seq, allowed.grantee);
            END LOOP;
        END IF;
    END LOOP;
END $$;

-- Primary keys under the names that they have on an empty database.
DO $$
DECLARE
    old record;
BEGIN
    FOR old IN
        SELECT c.conrelid::regclass AS tbl, c.conname AS has, t.relname || '_pkey' AS wants
        FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
        WHERE c.conrelid = ANY (reveille_adoptable()::oid[]) AND c.contype = 'p' AND c.conname <> t.relname || '_pkey'
    LOOP
        EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', old.tbl, old.has, old.wants);
    END LOOP;
END $$;

DO $$
DECLARE
    old record;
    statement text;
    allowed record;
BEGIN
    FOR old IN SELECT * FROM reveille_views ORDER BY depth LOOP
        EXECUTE format('CREATE %s %s %s AS %s', old.kind, old.name,
            CASE WHEN old.reloptions IS NOT NULL THEN format('WITH (%s)', array_to_string(old.reloptions, ', ')) END, old.definition);
        IF old.comment IS NOT NULL THEN
            EXECUTE format('COMMENT ON %s %s IS %L', old.kind, old.name, old.comment);
        END IF;
        FOREACH statement IN ARRAY old.indexes || old.triggers LOOP
            EXECUTE statement;
        END LOOP;
        FOR allowed IN
            SELECT privilege_type AS privilege, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS grantee
            FROM aclexplode(old.relacl)
        LOOP
            EXECUTE format('GRANT %s ON %s TO %s', allowed.privilege, old.name, allowed.grantee);
        END LOOP;
        IF old.relowner::regrole <> current_user::regrole THEN
            EXECUTE format('ALTER %s %s OWNER TO %s', old.kind, old.name, old.relowner::regrole);
        END IF;
    END LOOP;
    FOR old IN SELECT * FROM reveille_triggers LOOP
        EXECUTE old.definition;
        IF old.state <> 'O' THEN
            EXECUTE format('ALTER TABLE %s %s TRIGGER %I', old.tbl,
                CASE old.state WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, old.name);
        END IF;
    END LOOP;
END $$;

DROP FUNCTION reveille_adoptable();

-- The cores of the four tables, where there are none.
CREATE TABLE IF NOT EXISTS processing_queue (
    id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    document_id bigint NOT NULL,
    task_type varchar(50) NOT NULL
);

CREATE TABLE IF NOT EXISTS processing_servers (
    id varchar(255) PRIMARY KEY,
    server_type varchar(50) NOT NULL
);

CREATE TABLE IF NOT EXISTS task_dependencies (
    id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    dependent_task_id bigint NOT NULL,
    depends_on_task_id bigint NOT NULL
);

CREATE TABLE IF NOT EXISTS processing_progress (
    id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    processing_queue_id bigint NOT NULL
);

ANALYZE processing_queue, processing_servers, task_dependencies, processing_progress;  -- new types have no statistics
