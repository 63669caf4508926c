-- breaking: no
-- Who may do what: roles without login, and what each needs. docs/security.md says how to use them.
--
-- The privileges are rows, so that a later migration adds its own (INSERT INTO reveille_privileges …; `reveille migrate` calls
-- reveille_apply_privileges() at the end of each run that changed something) and an operator reads them in one SELECT. Roles
-- belong to the whole cluster: another database may have made them, and the user who migrates may not be allowed to make
-- them. Then nothing is granted, everything works as its owner, and a warning says so. Owners keep all rights in any case.

CREATE TABLE reveille_privileges (
    role_name text NOT NULL CHECK (role_name ~ '^reveille_[a-z]+$'),
    privileges text NOT NULL,  -- as after GRANT: SELECT, UPDATE (status), EXECUTE, USAGE
    object_kind text NOT NULL CHECK (object_kind IN ('TABLE', 'SEQUENCE', 'FUNCTION')),  -- a view is a table to GRANT
    object_name text NOT NULL,
    PRIMARY KEY (role_name, object_kind, object_name, privileges)
);

CREATE FUNCTION reveille_apply_privileges() RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    wanted record;
    absent text;
BEGIN
    -- Functions that run with their owner's rights are not for everybody; PostgreSQL lets everybody call what is new. That
    -- holds for trigger functions too: whoever may create a temporary table could hang one on it and feed it rows of his own.
    -- Who could write the queue before (an adopted backend that is not the owner) keeps the functions he had.
    FOR wanted IN
        SELECT p.oid::regprocedure AS signature, p.prorettype <> 'trigger'::regtype AS callable FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace AND pg_has_role(p.proowner, 'USAGE')
          AND (p.proname LIKE 'reveille\_%' OR EXISTS (
              SELECT 1 FROM reveille_privileges r WHERE r.object_kind = 'FUNCTION' AND r.object_name = p.proname))
          AND (p.prosecdef OR p.prorettype = 'trigger'::regtype OR p.proname = 'reveille_apply_privileges')
          AND EXISTS (SELECT 1 FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', wanted.signature);
        IF wanted.callable THEN
            EXECUTE coalesce((
                SELECT format('GRANT EXECUTE ON FUNCTION %s TO %s', wanted.signature, string_agg(DISTINCT a.grantee::regrole::text, ', '))
                FROM pg_class c, aclexplode(c.relacl) a
                WHERE c.oid = 'processing_queue'::regclass AND a.privilege_type = 'UPDATE' AND a.grantee NOT IN (0, c.relowner)
                  AND pg_get_userbyid(a.grantee) NOT IN (SELECT role_name FROM reveille_privileges)
                HAVING count(*) > 0), 'SELECT');
        END IF;
    END LOOP;

    SELECT string_agg(DISTINCT role_name, ', ') INTO absent FROM reveille_privileges
    WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = role_name);
    IF absent IS NOT NULL THEN
        RAISE WARNING 'roles that do not exist are granted nothing: %', absent USING
            HINT = 'Somebody with CREATEROLE creates them (CREATE ROLE … NOLOGIN); then run: SELECT reveille_apply_privileges()';
    END IF;
    FOR wanted IN
        SELECT r.role_name, r.privileges, CASE r.object_kind WHEN 'FUNCTION' THEN 'FUNCTION ' || p.oid::regprocedure
            ELSE format('%s %I', r.object_kind, r.object_name) END AS target
        FROM reveille_privileges r
        LEFT JOIN pg_proc p ON r.object_kind = 'FUNCTION' AND p.proname = r.object_name AND p.pronamespace = current_schema()::regnamespace
        WHERE EXISTS (SELECT 1 FROM pg_roles WHERE rolname = r.role_name)
          AND (r.object_kind <> 'FUNCTION' OR p.oid IS NOT NULL)
        UNION ALL
        SELECT DISTINCT role_name, 'USAGE', format('SCHEMA %I', current_schema()) FROM reveille_privileges
        WHERE CASE WHEN EXISTS (SELECT 1 FROM pg_roles WHERE rolname = role_name)
            THEN NOT has_schema_privilege(role_name, current_schema(), 'USAGE') END
    LOOP
        BEGIN
            EXECUTE format('GRANT %s ON %s TO %I', wanted.privileges, wanted.target, wanted.role_name);
        EXCEPTION
            WHEN insufficient_privilege THEN  -- a table of the backend's, which somebody else owns
                RAISE WARNING '% on % is not ours to grant to %', wanted.privileges, wanted.target, wanted.role_name;
            WHEN undefined_column OR undefined_table THEN
                NULL;  -- a documents table of the backend's has other columns; what is gone needs no grant
        END;
    END LOOP;
END $$;

INSERT INTO reveille_privileges (role_name, privileges, object_kind, object_name)
SELECT role_name, privileges, 'TABLE', unnest(string_to_array(tables, ' ')) FROM (VALUES
    -- The contract's enqueuer: adds tasks, reads how they do and what came of them, cancels and redrives by status.
    ('reveille_backend', 'INSERT (document_id, task_type, priority, file_path, company_id, processing_options, depends_on, dedupe_key, '
        'next_retry_at, max_retries, traceparent, tracestate, status, created_at), UPDATE (status)', 'processing_queue'),
    ('reveille_backend', 'INSERT (dependent_task_id, depends_on_task_id, dependency_type, created_at)', 'task_dependencies'),
    ('reveille_backend', 'INSERT (filename, media_type, sha256, size_bytes, content, company_id)', 'documents'),
    ('reveille_backend', 'SELECT', 'processing_queue task_dependencies task_types task_attempts processing_progress documents '
        'visual_analysis_results slide_feedback extraction_results template_analysis_results specialized_analysis_results '
        'document_results queue_depth container_costs cost_segments'),

    -- Takes tasks and ends them; what a task is and says of itself stays as it was enqueued. Adds results, and takes away
    -- only what an earlier attempt of the same task left (insert_*.sql).
    ('reveille_worker', 'UPDATE (status, locked_by, locked_at, lock_expires_at, lease_token, started_at, completed_at, completed_by, '
        'claimable_at, next_retry_at, attempt, retry_count, error_count, last_error, failure_reason, processing_duration_seconds, '
        'progress_percentage, current_step, progress_message, last_progress_update, processing_metadata, results_file_path, '
        'process_traceparent)', 'processing_queue'),
    ('reveille_worker', 'SELECT', 'processing_queue task_dependencies task_types pools task_attempts task_checkpoints processing_progress '
        'processing_servers documents analysis_templates document_results reveille_migrations'),
    ('reveille_worker', 'INSERT', 'task_attempts processing_progress processing_servers'),
    ('reveille_worker', 'INSERT, UPDATE (value, created_at), DELETE', 'task_checkpoints'),
    ('reveille_worker', 'UPDATE (server_type, container_id, status, status_reason, capabilities, current_load, max_concurrent_tasks, '
        'last_heartbeat, updated_at, epoch, has_presence, disconnected_at, pool, version, http_url, started_at)', 'processing_servers'),
    ('reveille_worker', 'SELECT, INSERT, DELETE', 'visual_analysis_results slide_feedback extraction_results template_analysis_results '
        'specialized_analysis_results'),

    -- Notices deaths, lets due and stranded tasks go on.
    ('reveille_monitor', 'SELECT', 'processing_queue task_dependencies task_types pools task_attempts processing_progress processing_servers '
        'containers cost_ledger cost_segments untraced_attempts reveille_migrations'),
    ('reveille_monitor', 'UPDATE (attempt), DELETE', 'untraced_attempts'),  -- a lock on a row needs the right to update it
    ('reveille_monitor', 'UPDATE (status, cancelled_by_task_id, failure_reason, last_error)', 'processing_queue'),
    ('reveille_monitor', 'UPDATE (satisfied_at)', 'task_dependencies'),
    ('reveille_monitor', 'UPDATE (status, status_reason, current_load, disconnected_at, updated_at), DELETE', 'processing_servers'),
    ('reveille_monitor', 'UPDATE (stuck_reason)', 'containers'),

    -- Moves containers; of the queue it sees what waits, never what a task says.
    ('reveille_autoscaler', 'SELECT', 'task_types pools processing_servers containers scaling_decisions leaders container_costs '
        'cost_ledger cost_segments provider_prices reveille_migrations'),
    ('reveille_autoscaler', 'INSERT, UPDATE, DELETE', 'provider_prices'),
    ('reveille_autoscaler', 'SELECT (id, document_id, task_type, pool, priority, status, attempt, created_at, claimable_at, started_at, '
        'completed_at, next_retry_at, lock_expires_at, processing_duration_seconds, locked_by, completed_by, traceparent, tracestate, '
        'process_traceparent)', 'processing_queue'),
    ('reveille_autoscaler', 'INSERT, UPDATE', 'containers leaders'),
    ('reveille_autoscaler', 'INSERT', 'scaling_decisions'),
    ('reveille_autoscaler', 'UPDATE (status, status_reason, updated_at)', 'processing_servers'),

    -- What HTTP callers may do, all scopes together.
    ('reveille_gateway', 'SELECT', 'processing_queue task_dependencies task_types pools task_attempts processing_progress processing_servers '
        'documents analysis_templates visual_analysis_results slide_feedback extraction_results template_analysis_results '
        'specialized_analysis_results document_results queue_depth containers scaling_decisions leaders container_costs '
        'container_transitions cost_ledger cost_segments provider_prices reveille_migrations'),
    ('reveille_gateway', 'INSERT (document_id, task_type, priority, file_path, company_id, processing_options, depends_on, dedupe_key, '
        'next_retry_at, max_retries, traceparent, tracestate), UPDATE (status, last_error, lease_token, locked_by, locked_at, '
        'lock_expires_at, claimable_at, attempt, process_traceparent)', 'processing_queue'),
    ('reveille_gateway', 'INSERT', 'task_attempts untraced_attempts'),
    ('reveille_gateway', 'INSERT (filename, media_type, sha256, size_bytes, content, company_id)', 'documents'),
    ('reveille_gateway', 'UPDATE (paused, replicas_min, replicas_max, policy, updated_at)', 'pools'),
    ('reveille_gateway', 'INSERT (name, pool, slot, reason), UPDATE (wish, wish_reason)', 'containers'),
    ('reveille_gateway', 'INSERT (id, server_type, capabilities, max_concurrent_tasks, container_id, status, epoch, last_heartbeat, '
        'started_at, current_load, updated_at), UPDATE (server_type, capabilities, max_concurrent_tasks, container_id, status, '
        'status_reason, epoch, last_heartbeat, started_at, disconnected_at, current_load, updated_at)', 'processing_servers'),

    -- Dashboards: everything but the decks themselves.
    ('reveille_readonly', 'SELECT', 'processing_queue task_dependencies task_types pools task_attempts processing_progress processing_servers '
        'analysis_templates visual_analysis_results slide_feedback extraction_results template_analysis_results '
        'specialized_analysis_results document_results queue_depth containers scaling_decisions leaders container_costs '
        'container_transitions cost_ledger cost_segments provider_prices untraced_attempts reveille_migrations'),
    ('reveille_readonly', 'SELECT (id, filename, media_type, sha256, size_bytes, company_id, created_at)', 'documents')
) AS granted (role_name, privileges, tables);

INSERT INTO reveille_privileges (role_name, privileges, object_kind, object_name)
SELECT role_name, 'USAGE', 'SEQUENCE', object_name FROM (VALUES
    ('reveille_worker', 'reveille_lease_token'), ('reveille_worker', 'reveille_server_epoch'),
    ('reveille_gateway', 'reveille_server_epoch')
) AS granted (role_name, object_name);

INSERT INTO reveille_privileges (role_name, privileges, object_kind, object_name)
SELECT role_name, 'EXECUTE', 'FUNCTION', unnest(string_to_array(functions, ' ')) FROM (VALUES
    ('reveille_backend', 'retry_failed_task container_segments'),
    -- an external server, by SQL, is a worker
    ('reveille_worker', 'get_next_processing_task update_task_progress complete_task retry_failed_task cleanup_expired_locks reveille_recover_tasks '
        'reveille_new_lease_token'),
    ('reveille_monitor', 'reveille_recover_tasks container_segments'),
    ('reveille_autoscaler', 'container_segments'), ('reveille_readonly', 'container_segments'),
    ('reveille_gateway', 'get_next_processing_task update_task_progress complete_task retry_failed_task container_segments')
) AS granted (role_name, functions);

DO $$
DECLARE
    wanted text;
BEGIN
    FOR wanted IN SELECT DISTINCT role_name FROM reveille_privileges
                  WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = role_name) ORDER BY 1 LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;  -- another database's migration was quicker
            WHEN insufficient_privilege THEN NULL;  -- reveille_apply_privileges() says it
        END;
    END LOOP;
END $$;

SELECT reveille_apply_privileges();
