-- breaking: no
-- joined: yes
-- What happens by itself: defaults, wake-up, dependencies, and the effects of a status that somebody else sets.
--
-- Lock order: a parent's row before its dependents' rows, rows of one statement by ascending id. Nothing here waits for
-- anything but such a row, and no row is held for longer than the commit that is under way.

-- Advisory locks, two-key form. 5395020 is "RVL".
--   (5395020, hash of pool)  wake gate: whoever holds it is about to notify the pool
--   (5395020, 1)             timer gate
--   (5395020, 2)             held by a gateway while somebody listens to task_changed
--   (5395020, 3)             migrator
--   (5395020, 4)             gate of what is said about new tasks while somebody listens
--   (5395020, 5)             held by whoever moves tasks to the archive (0009)
--   (5395021, presence_key)  a server's connection is alive
CREATE FUNCTION reveille_lock_space() RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 5395020;

-- Does anybody listen to task_changed? A listener holds the lock exclusively; shared tries do not hinder each other.
CREATE FUNCTION reveille_somebody_listens() RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF pg_try_advisory_lock_shared(5395020, 2) THEN
        PERFORM pg_advisory_unlock_shared(5395020, 2);
        RETURN false;
    END IF;
    RETURN true;
END $$;

-- processing_options.depends_on, as the existing backend writes it: one id or a list.
CREATE FUNCTION reveille_parents(declared bigint[], options jsonb) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    wanted jsonb := options -> 'depends_on';
    parents bigint[];
BEGIN
    IF jsonb_typeof(wanted) = 'array' THEN
        SELECT array_agg(entry::bigint) INTO parents FROM jsonb_array_elements_text(wanted) AS entry;
    ELSIF jsonb_typeof(wanted) IN ('number', 'string') THEN
        parents := ARRAY[(wanted #>> '{}')::bigint];
    ELSIF jsonb_typeof(wanted) <> 'null' THEN
        RAISE invalid_text_representation;
    END IF;
    SELECT array_agg(DISTINCT parent ORDER BY parent) INTO parents
    FROM unnest(declared || parents) AS parent WHERE parent IS NOT NULL;
    RETURN parents;
EXCEPTION WHEN invalid_text_representation OR numeric_value_out_of_range THEN
    RAISE EXCEPTION 'processing_options.depends_on must be a task id or a list of task ids, not %', wanted
        USING ERRCODE = 'invalid_parameter_value';
END $$;

-- INSERT: check, fill in, decide the first state ------------------------------------------------------------------

-- What an autocommitted INSERT pays for here is not the work but its preparation, which Postgres repeats in each statement
-- and transaction: the text of a DEFAULT, a CHECK or a WHEN is parsed anew, SET search_path and each plpgsql expression cost
-- a little (docs/performance.md counts them). So the usual row gets one condition, one look-up and four assignments by a
-- function that runs as its caller; every other row goes on to reveille_complete().

CREATE FUNCTION reveille_is_traceparent(said text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN said ~ '^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?$'
    AND (said NOT LIKE '00-%' OR length(said) = 55);

-- The process span of the attempt with this lease token, as a traceparent: its id is known to whoever knows the token
-- (reveille/trace_context.py has the same rule). NULL for a broken context.
CREATE FUNCTION reveille_process_traceparent(traceparent text, lease_token bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN reveille_is_traceparent(traceparent)
    THEN '00-' || substr(traceparent, 4, 32) || '-' || to_hex(lease_token | x'2000000000000000'::bigint) || '-' || substr(traceparent, 54, 2) END;

CREATE FUNCTION reveille_refuse_type(unknown varchar) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'unknown task_type "%"', unknown USING
        ERRCODE = 'check_violation',
        HINT = 'Known task types: ' || (SELECT string_agg(name, ', ' ORDER BY name) FROM task_types);
END $$;

CREATE FUNCTION reveille_refuse_time(next_retry_at timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'next_retry_at must be within the next 100 years, not %', next_retry_at USING ERRCODE = 'check_violation';
END $$;

-- Checks and completes a row that is not the usual one, and decides its first state.
CREATE FUNCTION reveille_complete(task processing_queue) RETURNS processing_queue
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    random_id text;
    is_history boolean;
BEGIN
    SELECT t.pool, coalesce(task.max_retries, t.max_retries), coalesce(task.priority, t.default_priority), reveille_now()
    INTO task.pool, task.max_retries, task.priority, task.claimable_at
    FROM task_types t WHERE t.name = task.task_type;
    IF NOT FOUND THEN
        PERFORM reveille_refuse_type(task.task_type);
    END IF;
    IF reveille_is_traceparent(task.traceparent) IS NOT TRUE THEN
        random_id := substr(encode(uuid_send(gen_random_uuid()), 'hex'), 2) || '0';  -- moved, see reveille_before_insert()
        task.traceparent := '00-' || random_id || '-' || right(random_id, 16) || '-01';
        task.tracestate := 'reveille=minted';
    END IF;

    IF task.priority NOT BETWEEN 1 AND 3 THEN
        RAISE EXCEPTION 'priority must be 1 (normal), 2 (high) or 3 (critical), not %', task.priority
            USING ERRCODE = 'check_violation';
    END IF;
    task.status := coalesce(task.status, 'queued');
    -- Below zero there would be no end of retries; a counter at its limit could not be raised any more.
    task.retry_count := least(greatest(coalesce(task.retry_count, 0), 0), 1000000);
    task.error_count := least(greatest(coalesce(task.error_count, 0), 0), 1000000);
    task.progress_percentage := coalesce(task.progress_percentage, 0);
    IF task.progress_percentage NOT BETWEEN 0 AND 100 THEN
        RAISE EXCEPTION 'progress_percentage must be between 0 and 100, not %', task.progress_percentage
            USING ERRCODE = 'check_violation';
    END IF;
    -- JSON null is what some libraries write for "nothing"
    task.processing_options := coalesce(nullif(task.processing_options, 'null'), '{}');
    IF jsonb_typeof(task.processing_options) = 'string' THEN
        task.processing_options := reveille_parse_object(task.processing_options #>> '{}');
    END IF;
    IF jsonb_typeof(task.processing_options) <> 'object' THEN
        RAISE EXCEPTION 'processing_options must be a JSON object, not %', jsonb_typeof(task.processing_options)
            USING ERRCODE = 'check_violation';
    END IF;

    -- Beyond that no client can read the row, nor anybody a list with it; 'infinity' stops every reckoning with time.
    IF task.next_retry_at >= task.claimable_at + interval '100 years' THEN
        PERFORM reveille_refuse_time(task.next_retry_at);
    END IF;
    is_history := task.status IN ('completed', 'failed', 'cancelled');  -- brought along: it keeps its times
    IF is_history AND NOT (task.created_at BETWEEN '1970-01-01Z' AND task.claimable_at + interval '100 years') THEN
        RAISE EXCEPTION 'created_at must be a time since 1970, not %', task.created_at USING ERRCODE = 'check_violation';
    END IF;
    task.created_at := CASE WHEN is_history THEN coalesce(task.created_at, task.claimable_at) ELSE task.claimable_at END;
    IF is_history THEN
        task.claimable_at := NULL;
        task.completed_at := coalesce(task.completed_at, task.created_at);
        RETURN task;
    END IF;
    task.depends_on := reveille_parents(task.depends_on, task.processing_options);
    IF task.status = 'processing' THEN
        task.lease_token := reveille_new_lease_token();
        task.started_at := coalesce(task.started_at, task.created_at);
        task.lock_expires_at := coalesce(task.lock_expires_at, task.created_at + make_interval(
            secs => (SELECT timeout_seconds FROM task_types WHERE name = task.task_type)));
    ELSIF task.depends_on IS NOT NULL THEN
        task.status := 'blocked';
        task.claimable_at := NULL;
    ELSIF task.next_retry_at > task.created_at THEN
        task.status := 'retry';
        task.claimable_at := NULL;
    ELSE
        task.status := 'queued';
        task.next_retry_at := NULL;
    END IF;
    RETURN task;
END $$;

-- STABLE: the look-up needs no snapshot but the INSERT's own. Names in full, because the caller's search_path holds here.
DO $do$ BEGIN EXECUTE format($create$
CREATE FUNCTION reveille_before_insert() RETURNS trigger
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF NEW.status = 'queued' AND NEW.priority BETWEEN 1 AND 3 AND NEW.depends_on IS NULL AND NEW.next_retry_at IS NULL
       AND NEW.processing_options >= '{}' AND NOT NEW.processing_options ? 'depends_on'  -- of all JSON, objects sort last
       AND (NEW.progress_percentage | NEW.retry_count | NEW.error_count) = 0 THEN  -- bits: no sum that cancels out or overflows
        SELECT t.pool, coalesce(NEW.max_retries, t.max_retries) INTO NEW.pool, NEW.max_retries
        FROM %1$I.task_types t WHERE t.name = NEW.task_type;
        IF NEW.traceparent IS NULL THEN
            -- A UUID's lower half begins with the bits 10, and samplers decide by a trace id's lower half: it is moved by a digit.
            NEW.traceparent := '00-' || substr(encode(uuid_send(gen_random_uuid()), 'hex'), 2) || '0-'
                || to_hex(NEW.id | x'1000000000000000'::bigint) || '-01';
            NEW.tracestate := 'reveille=minted';
        ELSIF NOT %1$I.reveille_is_traceparent(NEW.traceparent) THEN
            RETURN %1$I.reveille_complete(NEW);
        END IF;
        IF NEW.pool IS NOT NULL THEN
            NEW.created_at := %1$I.reveille_now();  -- the database's clock, whatever zone the client thinks it is in
            NEW.claimable_at := NEW.created_at;
            RETURN NEW;
        END IF;
    END IF;
    RETURN %1$I.reveille_complete(NEW);
END $$
$create$, current_schema()); END $do$;

CREATE TRIGGER reveille_10_before_insert BEFORE INSERT ON processing_queue
    FOR EACH ROW EXECUTE FUNCTION reveille_before_insert();

-- Wake-up ---------------------------------------------------------------------------------------------------------
-- A NOTIFY takes one cluster-wide lock until its commit is on disk, so transactions that notify commit one at a time
-- (measured, 32 writers: 600/s against 7,000/s without). Hence the gate: only who gets the try-lock notifies; the others
-- skip, because its holder is about to. Deferred, so that the gate is held for the commit alone. What remains, a skipper
-- that commits just after the holder, is covered by the workers' second looks (reveille/notifier.py).

CREATE FUNCTION reveille_wake_timer() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF pg_try_advisory_xact_lock(5395020, 1) THEN
        PERFORM pg_notify('timer_changed', '');
    END IF;
END $$;

CREATE FUNCTION reveille_say_changed(task_id bigint, new_status varchar, progress integer) RETURNS void
LANGUAGE sql
RETURN pg_notify('task_changed', json_build_object('id', task_id, 'status', new_status, 'progress', progress)::text);

-- Names nothing but built-in functions and so needs neither its owner's rights nor a search_path of its own. Whether somebody
-- watches is reveille_somebody_listens() written out, and pg_notify() in a condition is for its effect: PERFORM would run a
-- query, which costs more than all the rest.
CREATE FUNCTION reveille_after_insert() RETURNS trigger
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF NEW.status = 'queued' AND (
        NEW.priority < 3 AND NOT pg_catalog.pg_try_advisory_xact_lock(5395020, pg_catalog.hashtext(NEW.pool))
        OR pg_catalog.pg_notify('task_ready', NEW.pool) IS NOT NULL
            AND pg_catalog.pg_try_advisory_lock_shared(5395020, 2) AND pg_catalog.pg_advisory_unlock_shared(5395020, 2)
    ) THEN
        RETURN NULL;  -- skipped, for whoever holds the gate is about to say all of this; or said, and nobody watches
    END IF;
    IF NEW.status = 'retry' AND pg_catalog.pg_try_advisory_xact_lock(5395020, 1) THEN
        PERFORM pg_catalog.pg_notify('timer_changed', '');
    END IF;
    -- Gated as well, or an open board would line all writers up; a listener that hears of a new task reads again a little later.
    IF NOT (pg_catalog.pg_try_advisory_lock_shared(5395020, 2) AND pg_catalog.pg_advisory_unlock_shared(5395020, 2))
       AND pg_catalog.pg_try_advisory_xact_lock(5395020, 4) THEN
        PERFORM pg_catalog.pg_notify('task_changed', pg_catalog.json_build_object(
            'id', NEW.id, 'status', NEW.status, 'progress', NEW.progress_percentage)::text);
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER reveille_20_after_insert AFTER INSERT ON processing_queue
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION reveille_after_insert();

CREATE FUNCTION reveille_after_requeue() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF NEW.priority = 3 OR pg_try_advisory_xact_lock(5395020, hashtext(NEW.pool)) THEN
        PERFORM pg_notify('task_ready', NEW.pool);
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER reveille_20_after_requeue AFTER UPDATE ON processing_queue
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.status = 'queued' AND OLD.status IS DISTINCT FROM 'queued') EXECUTE FUNCTION reveille_after_requeue();

-- A task type that moves to another pool takes its waiting tasks along.
CREATE FUNCTION reveille_task_type_moved() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE processing_queue SET pool = NEW.pool
    WHERE task_type = NEW.name AND status IN ('blocked', 'queued', 'processing', 'retry');
    PERFORM pg_notify('task_ready', NEW.pool);
    RETURN NULL;
END $$;

CREATE TRIGGER reveille_task_type_moved AFTER UPDATE ON task_types
    FOR EACH ROW WHEN (OLD.pool IS DISTINCT FROM NEW.pool OR (OLD.paused AND NOT NEW.paused))
    EXECUTE FUNCTION reveille_task_type_moved();

-- Dependencies ----------------------------------------------------------------------------------------------------

-- A parent that is no longer in the queue: gone, or moved to the archive. Only asked where the queue has no such row.
CREATE FUNCTION reveille_archived_task(parent bigint)
RETURNS TABLE (id bigint, task_type varchar, status varchar, last_error text)
LANGUAGE plpgsql STABLE STRICT ROWS 1 COST 1000 AS $$
BEGIN
    RETURN QUERY SELECT a.id, a.task_type, a.status, a.last_error FROM processing_queue_archive a WHERE a.id = parent;
END $$;

CREATE FUNCTION reveille_declare_parents() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF NEW.status = 'blocked' THEN
        INSERT INTO task_dependencies (dependent_task_id, depends_on_task_id)
        SELECT NEW.id, parent FROM unnest(NEW.depends_on) AS parent ORDER BY parent
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER reveille_30_declare_parents AFTER INSERT ON processing_queue
    FOR EACH ROW WHEN (NEW.depends_on IS NOT NULL) EXECUTE FUNCTION reveille_declare_parents();

CREATE FUNCTION reveille_before_dependency() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    child_status varchar;
BEGIN
    IF current_setting('reveille.archiving', true) = 'on' THEN  -- it was checked once, and comes back as it was (0009)
        RETURN NEW;
    END IF;
    IF NEW.dependent_task_id = NEW.depends_on_task_id THEN
        RAISE EXCEPTION 'task % cannot depend on itself', NEW.dependent_task_id USING ERRCODE = 'check_violation';
    END IF;
    PERFORM 1 FROM processing_queue WHERE id = NEW.depends_on_task_id;
    IF NOT FOUND AND NOT EXISTS (SELECT 1 FROM reveille_archived_task(NEW.depends_on_task_id)) THEN
        RAISE EXCEPTION 'task % cannot depend on task %, which does not exist', NEW.dependent_task_id, NEW.depends_on_task_id
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    -- Only a task that others wait for can close a circle; a new one, the usual kind, needs no walk.
    IF EXISTS (SELECT 1 FROM task_dependencies WHERE depends_on_task_id = NEW.dependent_task_id AND satisfied_at IS NULL)
       AND EXISTS (
        WITH RECURSIVE ancestors (id) AS (
            SELECT NEW.depends_on_task_id
            UNION
            SELECT d.depends_on_task_id FROM task_dependencies d JOIN ancestors a ON d.dependent_task_id = a.id
            WHERE d.satisfied_at IS NULL
        )
        SELECT 1 FROM ancestors WHERE id = NEW.dependent_task_id
    ) THEN
        RAISE EXCEPTION 'task % cannot depend on task %, which depends on it already', NEW.dependent_task_id, NEW.depends_on_task_id
            USING ERRCODE = 'check_violation';
    END IF;

    SELECT status INTO child_status FROM processing_queue WHERE id = NEW.dependent_task_id FOR UPDATE;
    IF child_status IN ('queued', 'retry') THEN
        UPDATE processing_queue SET status = 'blocked' WHERE id = NEW.dependent_task_id;
    ELSIF child_status <> 'blocked' THEN
        RAISE EXCEPTION 'task % is % already: a dependency must be inserted in the transaction that inserts the task',
            NEW.dependent_task_id, child_status USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    -- Declared twice, in depends_on and as a row: the later one counts. Satisfied first, so that its end frees nobody.
    UPDATE task_dependencies SET satisfied_at = reveille_now()
    WHERE dependent_task_id = NEW.dependent_task_id AND depends_on_task_id = NEW.depends_on_task_id;
    IF FOUND THEN
        DELETE FROM task_dependencies
        WHERE dependent_task_id = NEW.dependent_task_id AND depends_on_task_id = NEW.depends_on_task_id;
    END IF;
    NEW.dependency_type := coalesce(NEW.dependency_type, 'completion');
    NEW.created_at := coalesce(NEW.created_at, reveille_now());
    NEW.satisfied_at := NULL;
    RETURN NEW;
END $$;

CREATE TRIGGER reveille_10_before_dependency BEFORE INSERT ON task_dependencies
    FOR EACH ROW EXECUTE FUNCTION reveille_before_dependency();

-- Queue those of `children` that wait for nothing any more. The lock comes first: of two parents that end at the same
-- time the second one waits for the first's commit here and then, with a new snapshot, sees both edges satisfied. Ended
-- children are locked too: one that is being redriven at this moment will be blocked when that commits.
CREATE FUNCTION reveille_release(children bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM processing_queue WHERE id = ANY (children) AND status IN ('blocked', 'failed', 'cancelled')
    ORDER BY id FOR UPDATE;
    UPDATE processing_queue q SET status = 'queued'
    WHERE q.id = ANY (children) AND q.status = 'blocked'
      AND NOT EXISTS (SELECT 1 FROM task_dependencies d WHERE d.dependent_task_id = q.id AND d.satisfied_at IS NULL);
END $$;

-- What the end of `parents` means for those who depend on them. A parent that is gone counts as cancelled.
CREATE FUNCTION reveille_parents_ended(parents bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    children bigint[];
BEGIN
    -- All dependents at once: first those that are freed and then those that are cancelled would be two ascending passes,
    -- and two batches whose parents share dependents crosswise would wait for each other.
    PERFORM 1 FROM processing_queue
    WHERE id = ANY (ARRAY(SELECT dependent_task_id FROM task_dependencies
                          WHERE depends_on_task_id = ANY (parents) AND satisfied_at IS NULL))
      AND status IN ('blocked', 'failed', 'cancelled')
    ORDER BY id FOR UPDATE;
    WITH satisfied AS (
        UPDATE task_dependencies d SET satisfied_at = reveille_now()
        WHERE d.depends_on_task_id = ANY (parents) AND d.satisfied_at IS NULL
          AND (d.dependency_type = 'finished'
               OR EXISTS (SELECT 1 FROM processing_queue p WHERE p.id = d.depends_on_task_id AND p.status = 'completed')
               OR EXISTS (SELECT 1 FROM reveille_archived_task(d.depends_on_task_id) a WHERE a.status = 'completed'))
        RETURNING d.dependent_task_id
    )
    SELECT array_agg(DISTINCT dependent_task_id) INTO children FROM satisfied;
    IF children IS NOT NULL THEN
        PERFORM reveille_release(children);
    END IF;

    SELECT array_agg(DISTINCT d.dependent_task_id) INTO children
    FROM task_dependencies d LEFT JOIN processing_queue p ON p.id = d.depends_on_task_id
    WHERE d.depends_on_task_id = ANY (parents) AND d.satisfied_at IS NULL AND d.dependency_type <> 'finished'
      AND (p.id IS NULL OR p.status IN ('failed', 'cancelled'));
    IF children IS NOT NULL THEN
        UPDATE processing_queue q
        SET status = 'cancelled', cancelled_by_task_id = why.parent, failure_reason = 'parent_' || why.parent_status,
            last_error = format('cancelled because task %s (%s), which it depends on, %s', why.parent,
                coalesce(why.parent_type, 'unknown'),
                CASE why.parent_status WHEN 'deleted' THEN 'was deleted' WHEN 'cancelled' THEN 'was cancelled'
                     ELSE 'failed: ' || coalesce(why.parent_error, 'no reason given') END)
        FROM (SELECT DISTINCT ON (d.dependent_task_id) d.dependent_task_id AS child, d.depends_on_task_id AS parent,
                     coalesce(p.task_type, a.task_type) AS parent_type, coalesce(p.status, a.status, 'deleted') AS parent_status,
                     left(coalesce(p.last_error, a.last_error), 500) AS parent_error
              FROM task_dependencies d LEFT JOIN processing_queue p ON p.id = d.depends_on_task_id
              LEFT JOIN LATERAL reveille_archived_task(CASE WHEN p.id IS NULL THEN d.depends_on_task_id END) a ON true
              WHERE d.dependent_task_id = ANY (children) AND d.depends_on_task_id = ANY (parents)
                AND d.satisfied_at IS NULL AND d.dependency_type <> 'finished'
                AND (p.id IS NULL OR p.status IN ('failed', 'cancelled'))
              ORDER BY d.dependent_task_id, d.depends_on_task_id) AS why
        WHERE q.id = why.child AND q.id = ANY (children) AND q.status = 'blocked';
    END IF;
END $$;

-- Redriven parents revive the dependents that they cancelled, unless another parent holds them back.
CREATE FUNCTION reveille_parents_revived(parents bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM processing_queue WHERE cancelled_by_task_id = ANY (parents) AND status = 'cancelled' ORDER BY id FOR UPDATE;
    UPDATE processing_queue q SET cancelled_by_task_id = other.parent
    FROM (SELECT d.dependent_task_id AS child, min(d.depends_on_task_id) AS parent
          FROM task_dependencies d LEFT JOIN processing_queue p ON p.id = d.depends_on_task_id
          WHERE d.satisfied_at IS NULL AND d.dependency_type <> 'finished' AND NOT d.depends_on_task_id = ANY (parents)
            AND (p.id IS NULL OR p.status IN ('failed', 'cancelled'))
            AND d.dependent_task_id IN (SELECT id FROM processing_queue
                                        WHERE cancelled_by_task_id = ANY (parents) AND status = 'cancelled')
          GROUP BY d.dependent_task_id) AS other
    WHERE q.id = other.child;
    -- One whose dedupe_key a newer task has stays: its key would refuse the redrive of all.
    UPDATE processing_queue q SET status = 'blocked', cancelled_by_task_id = NULL, failure_reason = NULL, last_error = NULL
    WHERE q.cancelled_by_task_id = ANY (parents) AND q.status = 'cancelled'
      AND NOT EXISTS (SELECT 1 FROM processing_queue o WHERE o.dedupe_key = q.dedupe_key
                      AND o.status IN ('blocked', 'queued', 'processing', 'retry'))
      AND NOT EXISTS (SELECT 1 FROM processing_queue o WHERE o.dedupe_key = q.dedupe_key AND o.id > q.id
                      AND o.cancelled_by_task_id = ANY (parents) AND o.status = 'cancelled');
END $$;

-- At the commit that brings the edge: has the parent ended meanwhile? FOR SHARE makes parent's end and this exclude each other.
CREATE FUNCTION reveille_after_dependency() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    parent_status varchar;
BEGIN
    SELECT status INTO parent_status FROM processing_queue WHERE id = NEW.depends_on_task_id FOR SHARE;
    IF parent_status IS NULL OR parent_status IN ('completed', 'failed', 'cancelled') THEN
        PERFORM reveille_parents_ended(ARRAY[NEW.depends_on_task_id]);
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER reveille_20_after_dependency AFTER INSERT ON task_dependencies
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION reveille_after_dependency();

-- An edge taken away by hand frees its dependent.
CREATE FUNCTION reveille_after_dependency_gone() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM reveille_release(ARRAY[OLD.dependent_task_id]);
    RETURN NULL;
END $$;

CREATE TRIGGER reveille_20_after_dependency_gone AFTER DELETE ON task_dependencies
    FOR EACH ROW WHEN (OLD.satisfied_at IS NULL) EXECUTE FUNCTION reveille_after_dependency_gone();

-- UPDATE ----------------------------------------------------------------------------------------------------------
-- The services change lease_token whenever they take or give up a task. A status that changes while the token stays
-- is set from outside, or is that of a task which nobody holds: here it gets what belongs to it.

CREATE FUNCTION reveille_before_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    was_final boolean := OLD.status IN ('completed', 'failed', 'cancelled');
BEGIN
    IF NEW.status IN ('queued', 'retry') AND OLD.status <> 'blocked' AND OLD.status <> 'processing' AND EXISTS (
        SELECT 1 FROM task_dependencies d JOIN processing_queue p ON p.id = d.depends_on_task_id
        WHERE d.dependent_task_id = NEW.id AND d.satisfied_at IS NULL
          AND p.status IN ('blocked', 'queued', 'processing', 'retry')
    ) THEN
        NEW.status := 'blocked';
    END IF;

    IF OLD.status = 'processing' THEN  -- somebody takes it away from its holder
        INSERT INTO task_attempts (task_id, attempt, lease_token, server_id, started_at, outcome, reason, error)
        VALUES (OLD.id, OLD.attempt, OLD.lease_token, OLD.locked_by, OLD.started_at,
                CASE WHEN NEW.status = 'cancelled' THEN 'cancelled' ELSE 'outside' END, 'status_' || NEW.status, NEW.last_error)
        ON CONFLICT DO NOTHING;
        INSERT INTO untraced_attempts (lease_token, task_id, attempt, server_id, claimable_at, started_at, outcome, reason, error, previous_traceparent)
        SELECT OLD.lease_token, OLD.id, OLD.attempt, OLD.locked_by, OLD.claimable_at, OLD.started_at,
               CASE WHEN NEW.status IN ('completed', 'cancelled') THEN NEW.status ELSE 'outside' END, 'status_' || NEW.status,
               NEW.last_error, OLD.process_traceparent
        WHERE NOT EXISTS (SELECT 1 FROM processing_servers s WHERE s.id = OLD.locked_by AND s.has_presence)  -- a worker says it itself
        ON CONFLICT DO NOTHING;
        NEW.process_traceparent := coalesce(reveille_process_traceparent(OLD.traceparent, OLD.lease_token), OLD.process_traceparent);
        PERFORM pg_notify('task_cancel', OLD.id::text);
        NEW.completed_by := CASE WHEN NEW.status IN ('completed', 'failed', 'cancelled') THEN OLD.locked_by END;
        NEW.locked_by := NULL;
        NEW.locked_at := NULL;
        NEW.lock_expires_at := NULL;
        NEW.lease_token := NULL;
    END IF;

    IF NEW.status IN ('completed', 'failed', 'cancelled') THEN
        NEW.completed_at := reveille_now();
        NEW.processing_duration_seconds := extract(epoch FROM reveille_now() - NEW.started_at)::integer;
        NEW.next_retry_at := NULL;
        IF NEW.status = 'completed' THEN
            NEW.progress_percentage := 100;
            NEW.failure_reason := NULL;
            DELETE FROM task_checkpoints WHERE task_id = NEW.id;
        ELSIF NEW.failure_reason IS NOT DISTINCT FROM OLD.failure_reason THEN
            NEW.failure_reason := CASE NEW.status WHEN 'failed' THEN 'outside' ELSE 'cancelled' END;
        END IF;
        RETURN NEW;
    END IF;

    IF was_final THEN  -- redriven: it starts afresh
        NEW.pool := coalesce((SELECT pool FROM task_types WHERE name = NEW.task_type), NEW.pool);
        NEW.completed_at := NULL;
        NEW.processing_duration_seconds := NULL;
        NEW.progress_percentage := 0;
        NEW.lost_count := 0;
        NEW.failure_reason := NULL;
        NEW.cancelled_by_task_id := NULL;
        IF NEW.retry_count = OLD.retry_count THEN
            NEW.retry_count := 0;
        END IF;
    END IF;

    IF NEW.status IN ('queued', 'retry') THEN
        IF OLD.status = 'retry' AND NEW.status = 'queued' AND NEW.next_retry_at = OLD.next_retry_at THEN
            NEW.next_retry_at := NULL;  -- whoever queues a waiting task by hand means now
        END IF;
        IF NEW.next_retry_at > reveille_now() THEN
            IF NEW.next_retry_at >= reveille_now() + interval '100 years' THEN
                PERFORM reveille_refuse_time(NEW.next_retry_at);
            END IF;
            NEW.status := 'retry';
        ELSIF NEW.status = 'retry' THEN
            NEW.next_retry_at := coalesce(NEW.next_retry_at, reveille_now());
        ELSE
            NEW.next_retry_at := NULL;
            NEW.claimable_at := reveille_now();
        END IF;
    ELSIF NEW.status = 'processing' THEN  -- a claim by hand gets a lease like any other
        NEW.lease_token := reveille_new_lease_token();
        NEW.attempt := OLD.attempt + 1;
        NEW.started_at := reveille_now();
        NEW.locked_at := reveille_now();
        IF NEW.lock_expires_at IS NULL OR NEW.lock_expires_at IS NOT DISTINCT FROM OLD.lock_expires_at THEN
            NEW.lock_expires_at := reveille_now() + make_interval(
                secs => (SELECT timeout_seconds FROM task_types WHERE name = NEW.task_type));
        END IF;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER reveille_10_before_update BEFORE UPDATE ON processing_queue
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status AND OLD.lease_token IS NOT DISTINCT FROM NEW.lease_token)
    EXECUTE FUNCTION reveille_before_update();

-- A time that somebody else sets while the status stays. Of the columns named, so that other UPDATEs know nothing of it.
CREATE FUNCTION reveille_before_postponed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    -- In any state: a blocked task would refuse it later, and with it the end of its parent.
    IF NEW.next_retry_at >= reveille_now() + interval '100 years' THEN
        PERFORM reveille_refuse_time(NEW.next_retry_at);
    END IF;
    IF NEW.status = 'queued' AND NEW.next_retry_at > reveille_now() THEN
        NEW.status := 'retry';
    ELSIF NEW.status = 'queued' THEN
        NEW.next_retry_at := NULL;
    ELSIF NEW.status = 'retry' THEN
        NEW.next_retry_at := coalesce(NEW.next_retry_at, reveille_now());
        PERFORM reveille_wake_timer();
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER reveille_11_before_postponed BEFORE UPDATE OF next_retry_at ON processing_queue
    FOR EACH ROW WHEN (OLD.status = NEW.status AND OLD.next_retry_at IS DISTINCT FROM NEW.next_retry_at)
    EXECUTE FUNCTION reveille_before_postponed();

-- A task that becomes one of another type goes to that type's pool.
CREATE FUNCTION reveille_before_retyped() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    SELECT pool INTO NEW.pool FROM task_types WHERE name = NEW.task_type;
    IF NOT FOUND THEN
        PERFORM reveille_refuse_type(NEW.task_type);
    END IF;
    IF NEW.status = 'queued' THEN
        PERFORM pg_notify('task_ready', NEW.pool);
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER reveille_12_before_retyped BEFORE UPDATE OF task_type ON processing_queue
    FOR EACH ROW WHEN (OLD.task_type IS DISTINCT FROM NEW.task_type) EXECUTE FUNCTION reveille_before_retyped();

-- What no row may become. Checked once per statement, where CHECK constraints would be parsed in each (see INSERT).
CREATE FUNCTION reveille_refuse_row(task processing_queue) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', CASE
        WHEN task.priority NOT BETWEEN 1 AND 3 THEN
            format('priority must be 1 (normal), 2 (high) or 3 (critical), not %s', task.priority)
        WHEN task.progress_percentage NOT BETWEEN 0 AND 100 THEN
            format('progress_percentage must be between 0 and 100, not %s', task.progress_percentage)
        WHEN jsonb_typeof(task.processing_options) <> 'object' THEN
            format('processing_options must be a JSON object, not %s', jsonb_typeof(task.processing_options))
        WHEN task.status = 'processing' THEN 'a task in processing needs a lease_token'
        ELSE format('unknown status "%s" (processing_queue_status_known)', task.status) END
        USING ERRCODE = 'check_violation', TABLE = 'processing_queue',
              HINT = 'Statuses: blocked, queued, processing, retry, completed, failed, cancelled';
END $$;

-- Effects on others, once per statement, so that a batch of completions costs one look at the edges.
CREATE FUNCTION reveille_after_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    ended bigint[];
    revived bigint[];
    waits boolean;
    are_sound boolean;
BEGIN
    -- First what needs one pass over the new rows: a claim or a completion that nobody depends on needs no more.
    SELECT array_agg(n.id) FILTER (WHERE n.status IN ('completed', 'failed', 'cancelled')), bool_or(n.status = 'retry'),
           bool_and(n.status IN ('blocked', 'queued', 'processing', 'retry', 'completed', 'failed', 'cancelled')
                    AND n.priority BETWEEN 1 AND 3 AND n.progress_percentage BETWEEN 0 AND 100
                    AND jsonb_typeof(n.processing_options) = 'object' AND (n.status <> 'processing' OR n.lease_token IS NOT NULL))
    INTO ended, waits, are_sound
    FROM new_rows n;

    IF NOT are_sound THEN
        PERFORM reveille_refuse_row(n) FROM new_rows n
        WHERE n.status NOT IN ('blocked', 'queued', 'processing', 'retry', 'completed', 'failed', 'cancelled')
           OR n.priority NOT BETWEEN 1 AND 3 OR n.progress_percentage NOT BETWEEN 0 AND 100
           OR jsonb_typeof(n.processing_options) <> 'object' OR (n.status = 'processing' AND n.lease_token IS NULL);
    END IF;
    IF ended IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM task_dependencies WHERE depends_on_task_id = ANY (ended) AND satisfied_at IS NULL) THEN
        ended := NULL;
    END IF;
    IF ended IS NOT NULL OR waits OR EXISTS (SELECT 1 FROM old_rows WHERE status IN ('failed', 'cancelled')) THEN
        -- Grouped, not joined: a plan made for one row would compare each with each (18 ms for 256 tasks).
        SELECT array_agg(id) FILTER (WHERE now_is <> was AND (now_is = 'completed' OR now_is IN ('failed', 'cancelled')
                                         AND was NOT IN ('completed', 'failed', 'cancelled'))),
               array_agg(id) FILTER (WHERE was IN ('failed', 'cancelled') AND now_is NOT IN ('failed', 'cancelled')),
               bool_or(now_is = 'retry' AND was <> 'retry')
        INTO ended, revived, waits
        FROM (SELECT id, max(status) FILTER (WHERE is_new) AS now_is, max(status) FILTER (WHERE NOT is_new) AS was
              FROM (SELECT id, status, true AS is_new FROM new_rows UNION ALL SELECT id, status, false FROM old_rows) AS both_rows
              GROUP BY id) AS changed;
    END IF;
    IF revived IS NOT NULL THEN  -- first: a failed task that is set to completed revives and then frees its dependents
        PERFORM reveille_parents_revived(revived);
        PERFORM reveille_release(revived);
    END IF;
    IF ended IS NOT NULL AND EXISTS (
        SELECT 1 FROM task_dependencies WHERE depends_on_task_id = ANY (ended) AND satisfied_at IS NULL) THEN
        PERFORM reveille_parents_ended(ended);
    END IF;
    IF waits THEN
        PERFORM reveille_wake_timer();
    END IF;
    IF reveille_somebody_listens() THEN
        PERFORM reveille_say_changed(id, (array_agg(status) FILTER (WHERE is_new))[1],
                                     (array_agg(progress_percentage) FILTER (WHERE is_new))[1])
        FROM (SELECT id, status, progress_percentage, true AS is_new FROM new_rows
              UNION ALL SELECT id, status, progress_percentage, false FROM old_rows) AS both_rows
        GROUP BY id HAVING count(DISTINCT (status, progress_percentage)) > 1;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER reveille_40_after_update AFTER UPDATE ON processing_queue
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION reveille_after_update();

-- DELETE ----------------------------------------------------------------------------------------------------------

CREATE FUNCTION reveille_after_delete() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    gone bigint[];
BEGIN
    SELECT array_agg(id) INTO gone FROM old_rows;
    IF gone IS NULL OR current_setting('reveille.archiving', true) = 'on' THEN  -- on: moved, not deleted (0009)
        RETURN NULL;
    END IF;
    PERFORM pg_notify('task_cancel', id::text) FROM old_rows WHERE status = 'processing';
    IF EXISTS (SELECT 1 FROM task_dependencies WHERE depends_on_task_id = ANY (gone) AND satisfied_at IS NULL) THEN
        PERFORM reveille_parents_ended(gone);
    END IF;
    IF reveille_somebody_listens() THEN
        PERFORM reveille_say_changed(id, 'deleted', progress_percentage) FROM old_rows;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER reveille_40_after_delete AFTER DELETE ON processing_queue
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION reveille_after_delete();

-- Servers, pools --------------------------------------------------------------------------------------------------

CREATE FUNCTION reveille_server_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_notify('server_changed', coalesce(NEW.id, OLD.id));
    RETURN NULL;
END $$;

CREATE TRIGGER reveille_server_registered AFTER INSERT OR DELETE ON processing_servers
    FOR EACH ROW EXECUTE FUNCTION reveille_server_changed();
CREATE TRIGGER reveille_server_status AFTER UPDATE ON processing_servers
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.epoch IS DISTINCT FROM NEW.epoch
                       OR OLD.disconnected_at IS DISTINCT FROM NEW.disconnected_at)
    EXECUTE FUNCTION reveille_server_changed();

-- Rows from outside leave out, or set to NULL, what they know nothing about.
CREATE FUNCTION reveille_before_server() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.status := coalesce(NEW.status, 'active');
    NEW.capabilities := reveille_capabilities(NEW.capabilities);
    NEW.current_load := greatest(coalesce(NEW.current_load, 0), 0);
    NEW.max_concurrent_tasks := coalesce(NEW.max_concurrent_tasks, 5);
    NEW.created_at := coalesce(NEW.created_at, reveille_now());
    NEW.updated_at := coalesce(NEW.updated_at, reveille_now());
    RETURN NEW;
END $$;

CREATE TRIGGER reveille_10_before_server BEFORE INSERT OR UPDATE ON processing_servers
    FOR EACH ROW WHEN (NEW.status IS NULL OR NEW.capabilities IS NULL OR jsonb_typeof(NEW.capabilities) <> 'object'
                       OR NEW.current_load IS NULL OR NEW.max_concurrent_tasks IS NULL
                       OR NEW.created_at IS NULL OR NEW.updated_at IS NULL)
    EXECUTE FUNCTION reveille_before_server();

CREATE FUNCTION reveille_before_step() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.created_at := reveille_now();
    RETURN NEW;
END $$;

CREATE TRIGGER reveille_10_before_step BEFORE INSERT ON processing_progress
    FOR EACH ROW WHEN (NEW.created_at IS NULL) EXECUTE FUNCTION reveille_before_step();

-- A resumed pool has work that nobody was told of.
CREATE FUNCTION reveille_pool_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_notify('scaling_changed', NEW.name);
    PERFORM pg_notify('task_ready', NEW.name);
    RETURN NULL;
END $$;

CREATE TRIGGER reveille_pool_changed AFTER INSERT OR UPDATE ON pools
    FOR EACH ROW EXECUTE FUNCTION reveille_pool_changed();
