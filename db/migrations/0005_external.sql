-- breaking: no
-- joined: yes
-- Functions for the world outside: the whole pipeline in one call, and what external servers use today.

-- Enqueue the whole pipeline of a deck; returns the task ids, parents first.
CREATE FUNCTION enqueue_document(
    document_id bigint,
    file_path text DEFAULT NULL,
    company_id text DEFAULT NULL,
    priority integer DEFAULT 1,
    processing_options jsonb DEFAULT '{}',
    traceparent text DEFAULT NULL,
    tracestate text DEFAULT NULL
) RETURNS SETOF bigint
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    visual bigint;
    healthcare bigint;
    kind text;
    parents bigint[];
    added bigint;
BEGIN
    INSERT INTO processing_queue (document_id, task_type, priority, file_path, company_id, processing_options, traceparent, tracestate)
    VALUES (document_id, 'visual_analysis', priority, file_path, company_id, processing_options, traceparent, tracestate)
    RETURNING id INTO visual;
    RETURN NEXT visual;
    FOREACH kind IN ARRAY ARRAY[
        'slide_feedback', 'company_offering_extraction', 'startup_name_extraction', 'healthcare_classification',
        'funding_amount_extraction', 'deck_date_extraction', 'template_analysis',
        'specialized_clinical', 'specialized_regulatory', 'specialized_science']
    LOOP
        parents := ARRAY[visual];
        IF kind LIKE 'specialized%' THEN
            parents := parents || healthcare;
        END IF;
        INSERT INTO processing_queue (document_id, task_type, priority, file_path, company_id, processing_options, depends_on, traceparent, tracestate)
        VALUES (document_id, kind, priority, file_path, company_id, processing_options, parents, traceparent, tracestate)
        RETURNING id INTO added;
        IF kind = 'healthcare_classification' THEN
            healthcare := added;
        END IF;
        RETURN NEXT added;
    END LOOP;
END $$;

-- The next task for an external server, best first; it counts as a heartbeat. Unknown servers are entered.
CREATE FUNCTION get_next_processing_task(server_id text, capabilities jsonb)
RETURNS TABLE (task_id bigint, document_id bigint, task_type varchar, file_path text, company_id varchar, processing_options jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    taken_types jsonb := reveille_capabilities(get_next_processing_task.capabilities);  -- a list or a JSON string will do, as in the row
BEGIN
    INSERT INTO processing_servers AS s (id, server_type, capabilities, last_heartbeat, epoch)
    VALUES (get_next_processing_task.server_id, 'gpu', taken_types, reveille_now(),
            nextval('reveille_server_epoch'))
    ON CONFLICT (id) DO UPDATE SET last_heartbeat = reveille_now(), updated_at = reveille_now(),
        status = CASE WHEN s.status = 'draining' THEN s.status ELSE 'active' END;

    UPDATE processing_queue SET status = 'queued'
    WHERE id IN (SELECT id FROM processing_queue WHERE status = 'retry' AND next_retry_at <= reveille_now()
                 ORDER BY next_retry_at LIMIT 20 FOR UPDATE SKIP LOCKED);

    RETURN QUERY
    -- The candidates are locked one by one, best first, until one is ours: a lock on the best of each type would hide
    -- those from a server that asks at the same moment and does not look again.
    WITH picked AS MATERIALIZED (
        SELECT q.id, t.timeout_seconds
        FROM task_types t
        JOIN pools p ON p.name = t.pool AND NOT p.paused
        CROSS JOIN LATERAL (
            SELECT w.id, w.priority FROM processing_queue w
            WHERE w.status = 'queued' AND w.task_type = t.name
            ORDER BY w.priority DESC, w.id LIMIT 50) c
        JOIN processing_queue q ON q.id = c.id AND q.status = 'queued'
        WHERE NOT t.paused
          AND taken_types -> t.name NOT IN ('false', 'null')
          AND EXISTS (SELECT 1 FROM processing_servers s WHERE s.id = get_next_processing_task.server_id AND s.status = 'active')
        ORDER BY c.priority DESC, c.id LIMIT 1 FOR UPDATE OF q SKIP LOCKED
    )
    UPDATE processing_queue q SET
        status = 'processing', locked_by = get_next_processing_task.server_id, locked_at = reveille_now(),
        lock_expires_at = reveille_now() + make_interval(secs => picked.timeout_seconds),
        lease_token = reveille_new_lease_token(), started_at = reveille_now(), attempt = q.attempt + 1,
        progress_percentage = 0, next_retry_at = NULL
    FROM picked
    WHERE q.id = ANY (ARRAY(SELECT id FROM picked)) AND q.id = picked.id
    RETURNING q.id, q.document_id, q.task_type, q.file_path, q.company_id, q.processing_options;
END $$;

CREATE FUNCTION update_task_progress(
    task_id bigint, percentage integer, step_name text, message text DEFAULT NULL, step_data jsonb DEFAULT NULL
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    share integer := least(greatest(coalesce(update_task_progress.percentage, 0), 0), 100);
BEGIN
    UPDATE processing_queue SET progress_percentage = share, current_step = left(update_task_progress.step_name, 255),
        progress_message = update_task_progress.message, last_progress_update = reveille_now()
    WHERE id = update_task_progress.task_id AND status = 'processing';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO processing_progress (processing_queue_id, step_name, step_status, progress_percentage, message, step_data)
    VALUES (update_task_progress.task_id, left(coalesce(update_task_progress.step_name, ''), 255),
            CASE WHEN share >= 100 THEN 'completed' ELSE 'started' END, share,
            update_task_progress.message, update_task_progress.step_data);
    RETURN true;
END $$;

-- The end of an external server's attempt. False when the task is not being processed (any more): then nothing changes.
CREATE FUNCTION complete_task(
    task_id bigint, success boolean, results_path text DEFAULT NULL, error_message text DEFAULT NULL, metadata jsonb DEFAULT NULL
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_column
BEGIN
    WITH ended AS (
        SELECT q.id, q.lease_token, q.attempt, q.locked_by, q.started_at, q.claimable_at, q.process_traceparent,
               CASE WHEN complete_task.success THEN 'completed'
                    WHEN q.retry_count >= q.max_retries THEN 'failed' ELSE 'retry' END AS fate
        FROM processing_queue q WHERE q.id = complete_task.task_id AND q.status = 'processing' FOR UPDATE
    ), kept AS (
        INSERT INTO task_attempts (task_id, attempt, lease_token, server_id, started_at, outcome, reason, error)
        SELECT id, attempt, lease_token, locked_by, started_at, fate, 'reported', complete_task.error_message
        FROM ended WHERE fate <> 'completed'
    ), untraced AS (
        INSERT INTO untraced_attempts (lease_token, task_id, attempt, server_id, claimable_at, started_at, outcome, reason, error, previous_traceparent)
        SELECT lease_token, id, attempt, locked_by, claimable_at, started_at, fate, 'reported', complete_task.error_message, process_traceparent
        FROM ended
    ), finished AS (
        DELETE FROM task_checkpoints WHERE task_id IN (SELECT id FROM ended WHERE fate = 'completed')
    )
    UPDATE processing_queue q SET
        status = e.fate, lease_token = NULL, locked_by = NULL, locked_at = NULL, lock_expires_at = NULL, completed_by = e.locked_by,
        completed_at = CASE WHEN e.fate <> 'retry' THEN reveille_now() END,
        processing_duration_seconds = CASE WHEN e.fate <> 'retry' THEN extract(epoch FROM reveille_now() - q.started_at)::integer END,
        progress_percentage = CASE WHEN e.fate = 'completed' THEN 100 ELSE q.progress_percentage END,
        results_file_path = coalesce(complete_task.results_path, q.results_file_path),
        processing_metadata = coalesce(complete_task.metadata, q.processing_metadata),
        last_error = CASE WHEN e.fate = 'completed' THEN q.last_error ELSE coalesce(complete_task.error_message, 'reported as failed') END,
        failure_reason = CASE WHEN e.fate = 'failed' THEN 'reported' END,
        error_count = q.error_count + (e.fate <> 'completed')::integer,
        retry_count = q.retry_count + (e.fate = 'retry')::integer,
        next_retry_at = CASE WHEN e.fate = 'retry'
            THEN reveille_now() + make_interval(secs => random() * least(300, 5 * 2 ^ least(q.retry_count, 10))) END,
        process_traceparent = coalesce(reveille_process_traceparent(q.traceparent, e.lease_token), q.process_traceparent)
    FROM ended e WHERE q.id = e.id;
    RETURN FOUND;
END $$;

-- Redrive: a failed or cancelled task starts afresh, a waiting retry becomes due now.
CREATE FUNCTION retry_failed_task(task_id bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_column
BEGIN
    IF EXISTS (SELECT 1 FROM reveille_archived_task(retry_failed_task.task_id) a WHERE a.status IN ('failed', 'cancelled')) THEN
        -- With those that its end cancelled, all the way down: below, the trigger revives what is in the queue.
        PERFORM reveille_restore_task(fallen.id) FROM (
            WITH RECURSIVE fallen (id) AS (
                SELECT retry_failed_task.task_id
                UNION
                SELECT a.id FROM processing_queue_archive a JOIN fallen f ON a.cancelled_by_task_id = f.id WHERE a.status = 'cancelled'
            )
            SELECT id FROM fallen ORDER BY id) AS fallen;
    END IF;
    UPDATE processing_queue SET status = 'queued', next_retry_at = NULL
    WHERE id = retry_failed_task.task_id AND status IN ('failed', 'cancelled', 'retry');
    RETURN FOUND;
END $$;

-- Whether the server that holds a task since then is gone; NULL of one that never registered.
CREATE FUNCTION reveille_has_died(server processing_servers, held_since timestamptz, lease_seconds double precision) RETURNS boolean
LANGUAGE sql STABLE RETURN
    server.status IN ('lost', 'inactive')
    OR server.last_heartbeat < reveille_now() - make_interval(secs => lease_seconds)
    OR (server.has_presence AND held_since < server.started_at);

-- Tasks whose holder is gone, or holds them for too long, go back; how many did. `dead_workers_max` died with it: a poison task.
CREATE FUNCTION reveille_recover_tasks(
    lease_seconds double precision DEFAULT 30, limit_rows integer DEFAULT 1000, dead_workers_max integer DEFAULT 3,
    only_server text DEFAULT NULL
) RETURNS TABLE (task_id bigint, server_id varchar, fate varchar)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH lost AS MATERIALIZED (
        SELECT q.id, q.lease_token, q.attempt, q.locked_by, q.started_at, q.claimable_at, q.process_traceparent, holder.died,
               CASE WHEN holder.died THEN 'server_lost' ELSE 'lock_expired' END AS reason,
               CASE WHEN holder.died AND q.lost_count + 1 >= reveille_recover_tasks.dead_workers_max THEN 'failed'
                    WHEN q.retry_count >= q.max_retries THEN 'failed' ELSE 'queued' END AS fate,
               holder.died AND q.lost_count + 1 >= reveille_recover_tasks.dead_workers_max AS poison
        FROM processing_queue q LEFT JOIN processing_servers s ON s.id = q.locked_by
        -- Who never registered is believed until the lock expires, unless asked about by name: then its row was deleted.
        CROSS JOIN LATERAL (SELECT coalesce(
            reveille_has_died(s, q.locked_at, reveille_recover_tasks.lease_seconds)
            OR (s.id IS NULL AND q.locked_by = reveille_recover_tasks.only_server), false) AS died) AS holder
        WHERE q.status = 'processing'
          AND (reveille_recover_tasks.only_server IS NULL OR q.locked_by = reveille_recover_tasks.only_server)
          AND (q.lock_expires_at < reveille_now() OR holder.died)
        ORDER BY q.id LIMIT reveille_recover_tasks.limit_rows FOR UPDATE OF q SKIP LOCKED
    ), kept AS (
        INSERT INTO task_attempts (task_id, attempt, lease_token, server_id, started_at, outcome, reason, error)
        SELECT l.id, l.attempt, l.lease_token, l.locked_by, l.started_at, 'lost', l.reason,
               format(CASE WHEN l.died THEN 'server %s stopped answering' ELSE 'server %s held it for too long' END, l.locked_by)
        FROM lost l
        ON CONFLICT DO NOTHING
    ), untraced AS (
        INSERT INTO untraced_attempts (lease_token, task_id, attempt, server_id, claimable_at, started_at, outcome, reason, error, previous_traceparent)
        SELECT l.lease_token, l.id, l.attempt, l.locked_by, l.claimable_at, l.started_at, 'lost', l.reason,
               format(CASE WHEN l.died THEN 'server %s stopped answering' ELSE 'server %s held it for too long' END, l.locked_by),
               l.process_traceparent
        FROM lost l
        ON CONFLICT DO NOTHING
    )
    UPDATE processing_queue q SET
        status = l.fate, lease_token = NULL, locked_by = NULL, locked_at = NULL, lock_expires_at = NULL,
        claimable_at = CASE WHEN l.fate = 'queued' THEN reveille_now() ELSE q.claimable_at END,
        completed_at = CASE WHEN l.fate = 'failed' THEN reveille_now() END,
        completed_by = CASE WHEN l.fate = 'failed' THEN l.locked_by END,
        processing_duration_seconds = CASE WHEN l.fate = 'failed' THEN extract(epoch FROM reveille_now() - q.started_at)::integer END,
        lost_count = q.lost_count + l.died::integer, error_count = q.error_count + 1,
        retry_count = q.retry_count + (l.fate = 'queued')::integer,
        failure_reason = CASE WHEN l.fate = 'failed' THEN CASE WHEN l.poison THEN 'poison' ELSE l.reason END END,
        last_error = CASE
            WHEN l.poison THEN format('set aside: %s workers died or went silent while working on it, the last was %s; '
                                      'look at their logs before you retry it', q.lost_count + 1, l.locked_by)
            WHEN l.reason = 'lock_expired' THEN format('server %s held it for longer than its time limit', l.locked_by)
            ELSE format('server %s stopped answering while working on it', l.locked_by) END,
        process_traceparent = coalesce(reveille_process_traceparent(q.traceparent, l.lease_token), q.process_traceparent)
    FROM lost l WHERE q.id = ANY (ARRAY(SELECT id FROM lost)) AND q.id = l.id
    RETURNING q.id, l.locked_by, q.status;
END $$;

-- A server whose row is deleted is gone: nobody would see it fall silent.
CREATE FUNCTION reveille_server_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM reveille_recover_tasks(only_server => OLD.id);
    RETURN NULL;
END $$;

CREATE TRIGGER reveille_server_deleted AFTER DELETE ON processing_servers
    FOR EACH ROW EXECUTE FUNCTION reveille_server_deleted();

-- What expired locks hold, and servers that are known to be gone. Silence (NULL: however long) is for the monitor to judge: only
-- it knows that the database was away, and that everybody was silent because of that.
CREATE FUNCTION cleanup_expired_locks() RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
RETURN (SELECT count(*)::integer FROM reveille_recover_tasks(lease_seconds => NULL));
