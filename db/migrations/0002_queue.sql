-- breaking: no
-- joined: yes
-- The queue: routing table, tasks, dependencies, progress, servers. Who writes which column: ARCHITECTURE.md.

-- One clock, the database's: the start of the client's statement. (clock_timestamp() is volatile, which keeps the planner
-- from inlining this function: 30 µs a call instead of none.) Tests set reveille.now (SET, or ALTER DATABASE … SET) and travel in time.
CREATE FUNCTION reveille_now() RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(nullif(current_setting('reveille.now', true), '')::timestamptz, statement_timestamp());

CREATE SEQUENCE reveille_lease_token AS bigint;
CREATE SEQUENCE reveille_server_epoch AS bigint;  -- every registration draws one

-- Every claim draws one; a late writer carries an old one. A claim may be lost in a crash of the database, and the sequence's
-- last steps with it (ADR 0022): the 20 bits of chance below tell its token from the one that is then drawn again.
CREATE FUNCTION reveille_new_lease_token() RETURNS bigint
LANGUAGE sql VOLATILE
RETURN nextval('reveille_lease_token') << 20 | (random() * 1048575)::bigint;

-- Pools --------------------------------------------------------------------------------------------------------

CREATE TABLE pools (
    name varchar(50) PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_]*$'),
    paused boolean NOT NULL DEFAULT false,           -- operator: nothing is claimed, nothing is started
    replicas_min integer CHECK (replicas_min >= 0),  -- operator: overrides the scaling file; NULL: the file's value
    replicas_max integer CHECK (replicas_max >= 0),
    policy varchar(50),
    updated_at timestamptz NOT NULL DEFAULT reveille_now(),
    CONSTRAINT pools_min_not_over_max CHECK (replicas_min <= replicas_max)
);

INSERT INTO pools (name) VALUES ('visual'), ('text');

CREATE TABLE task_types (
    name varchar(50) PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_]*$'),
    pool varchar(50) NOT NULL REFERENCES pools (name) ON UPDATE CASCADE,
    max_retries integer NOT NULL DEFAULT 3 CHECK (max_retries >= 0),
    timeout_seconds integer NOT NULL DEFAULT 600 CHECK (timeout_seconds > 0),
    stall_seconds integer NOT NULL DEFAULT 900 CHECK (stall_seconds > 0),  -- without progress; two model calls take 600
    default_priority integer NOT NULL DEFAULT 1 CHECK (default_priority BETWEEN 1 AND 3),
    paused boolean NOT NULL DEFAULT false,
    description text NOT NULL DEFAULT ''
);

INSERT INTO task_types (name, pool, timeout_seconds, description) VALUES
    ('visual_analysis', 'visual', 1800, 'Each slide as an image: what it shows and says'),
    ('slide_feedback', 'visual', 1800, 'Feedback for each slide'),
    ('company_offering_extraction', 'text', 600, 'What the company offers'),
    ('startup_name_extraction', 'text', 600, 'The name of the startup'),
    ('healthcare_classification', 'text', 600, 'Whether and how the startup is in healthcare'),
    ('funding_amount_extraction', 'text', 600, 'How much money is asked for'),
    ('deck_date_extraction', 'text', 600, 'The date of the deck'),
    ('template_analysis', 'text', 1800, 'The deck against a review template: chapters, questions, scores'),
    ('specialized_clinical', 'text', 1200, 'Clinical validation'),
    ('specialized_regulatory', 'text', 1200, 'Regulatory pathway'),
    ('specialized_science', 'text', 1200, 'Scientific hypothesis'),
    ('extractions_and_template', 'text', 3600, 'The five extractions and the template analysis in one task');

ANALYZE task_types;  -- one page: an INSERT looks its type up without the index, for a third of the cost
GRANT SELECT ON task_types TO PUBLIC;  -- whoever may enqueue looks up the route; nothing here is secret

-- Tasks --------------------------------------------------------------------------------------------------------

ALTER TABLE processing_queue
    ADD COLUMN IF NOT EXISTS priority integer,
    ADD COLUMN IF NOT EXISTS file_path text,
    ADD COLUMN IF NOT EXISTS company_id varchar(255),
    ADD COLUMN IF NOT EXISTS processing_options jsonb,
    ADD COLUMN IF NOT EXISTS depends_on bigint[],
    ADD COLUMN IF NOT EXISTS dedupe_key text,
    ADD COLUMN IF NOT EXISTS next_retry_at timestamptz,
    ADD COLUMN IF NOT EXISTS traceparent text,
    ADD COLUMN IF NOT EXISTS tracestate text,
    ADD COLUMN IF NOT EXISTS status varchar(20),
    ADD COLUMN IF NOT EXISTS progress_percentage integer,
    ADD COLUMN IF NOT EXISTS current_step varchar(255),
    ADD COLUMN IF NOT EXISTS progress_message text,
    ADD COLUMN IF NOT EXISTS last_progress_update timestamptz,
    ADD COLUMN IF NOT EXISTS created_at timestamptz,
    ADD COLUMN IF NOT EXISTS started_at timestamptz,
    ADD COLUMN IF NOT EXISTS completed_at timestamptz,
    ADD COLUMN IF NOT EXISTS processing_duration_seconds integer,
    ADD COLUMN IF NOT EXISTS retry_count integer,
    ADD COLUMN IF NOT EXISTS max_retries integer,
    ADD COLUMN IF NOT EXISTS error_count integer,
    ADD COLUMN IF NOT EXISTS last_error text,
    ADD COLUMN IF NOT EXISTS locked_by varchar(255),
    ADD COLUMN IF NOT EXISTS locked_at timestamptz,
    ADD COLUMN IF NOT EXISTS lock_expires_at timestamptz,
    ADD COLUMN IF NOT EXISTS lease_token bigint,
    ADD COLUMN IF NOT EXISTS results_file_path text,
    ADD COLUMN IF NOT EXISTS processing_metadata jsonb,
    -- Reveille's own:
    ADD COLUMN IF NOT EXISTS pool varchar(50),         -- its task type's, for the wake-up
    ADD COLUMN claimable_at timestamptz,               -- when it last became queued: what the queue wait counts from
    ADD COLUMN attempt integer NOT NULL DEFAULT 0,     -- claims so far; a drain takes its claim back
    ADD COLUMN lost_count integer NOT NULL DEFAULT 0,  -- workers that died with it
    ADD COLUMN process_traceparent text,               -- the process span of the last attempt, for the next one's link
    ADD COLUMN completed_by varchar(255),              -- the server that ended it
    ADD COLUMN failure_reason varchar(50),             -- short kind of last_error, for metrics
    ADD COLUMN cancelled_by_task_id bigint;            -- the parent whose end cancelled it

-- The rows of an adopted table ------------------------------------------------------------------------------------

-- The backend's own triggers are for the backend's changes, not for these.
CREATE TEMPORARY TABLE reveille_disabled ON COMMIT DROP AS
SELECT tgrelid::regclass AS tbl, tgname AS name, tgenabled AS state FROM pg_trigger
WHERE tgrelid IN ('processing_queue'::regclass, 'processing_servers'::regclass, 'task_dependencies'::regclass, 'processing_progress'::regclass)
  AND NOT tgisinternal AND tgenabled <> 'D';

DO $$
DECLARE
    theirs record;
BEGIN
    FOR theirs IN SELECT * FROM reveille_disabled LOOP
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER %I', theirs.tbl, theirs.name);
    END LOOP;
END $$;

-- Rows that nothing refers to any more are kept aside, and the table for them is made only when there are some.
CREATE FUNCTION reveille_set_aside(tbl regclass, why text, condition text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    found_any boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT 1 FROM %s AS r WHERE %s)', tbl, condition) INTO found_any;
    IF found_any THEN
        CREATE TABLE IF NOT EXISTS reveille_set_aside (table_name text NOT NULL, why text NOT NULL, content jsonb NOT NULL);
        EXECUTE format('WITH gone AS (DELETE FROM %1$s AS r WHERE %2$s RETURNING to_jsonb(r) AS content) '
                       'INSERT INTO reveille_set_aside SELECT %1$L, $1, content FROM gone', tbl, condition) USING why;
    END IF;
END $$;

INSERT INTO task_types (name, pool, description)
SELECT DISTINCT task_type, 'text', 'Adopted: no worker of this program handles it'
FROM processing_queue
WHERE task_type ~ '^[a-z][a-z0-9_]*$'
ON CONFLICT (name) DO NOTHING;

-- Every status one of ours, every counter a number, every live task live. Unknown words end as failed and say so:
-- whoever knows them better redrives the task.
UPDATE processing_queue q SET
    status = adopted.status,
    pool = adopted.pool,
    last_error = CASE WHEN adopted.complaint IS NULL THEN q.last_error ELSE concat_ws('; ', q.last_error, adopted.complaint) END,
    failure_reason = CASE WHEN adopted.complaint IS NOT NULL THEN 'adoption' END,
    priority = least(greatest(coalesce(q.priority, 1), 1), 3),
    processing_options = CASE
        WHEN jsonb_typeof(q.processing_options) = 'object' THEN q.processing_options
        WHEN jsonb_typeof(q.processing_options) = 'string' THEN reveille_parse_object(q.processing_options #>> '{}')
        WHEN q.processing_options IS NULL OR jsonb_typeof(q.processing_options) = 'null' THEN '{}'
        ELSE jsonb_build_object('unparsed', q.processing_options) END,
    progress_percentage = least(greatest(coalesce(q.progress_percentage, 0), 0), 100),
    created_at = coalesce(q.created_at, q.started_at, q.completed_at, reveille_now()),
    claimable_at = CASE WHEN adopted.status = 'queued' THEN coalesce(q.created_at, reveille_now()) END,
    -- 'infinity' is refused from now on, also when a parent's end queues the task (0003)
    next_retry_at = CASE WHEN adopted.status = 'retry'
        THEN least(coalesce(q.next_retry_at, reveille_now()), reveille_now() + interval '99 years') END,
    completed_at = CASE WHEN adopted.final THEN coalesce(q.completed_at, q.started_at, q.created_at, reveille_now()) END,
    retry_count = greatest(coalesce(q.retry_count, 0), 0),
    max_retries = greatest(coalesce(q.max_retries, 3), 0),
    error_count = greatest(coalesce(q.error_count, 0), 0),
    attempt = greatest(coalesce(q.retry_count, 0), 0) + (adopted.final OR adopted.status = 'processing')::integer,
    -- A task that its holder left behind long ago goes back as soon as the monitor looks; a fresh one keeps its time.
    started_at = CASE WHEN adopted.status = 'processing' THEN coalesce(q.started_at, q.locked_at, q.created_at) ELSE q.started_at END,
    locked_at = CASE WHEN adopted.status = 'processing' THEN coalesce(q.locked_at, q.started_at, reveille_now()) END,
    lock_expires_at = CASE WHEN adopted.status = 'processing'
        THEN coalesce(q.lock_expires_at, q.started_at + interval '30 minutes', reveille_now()) END,
    locked_by = CASE WHEN adopted.status = 'processing' THEN q.locked_by END,
    lease_token = CASE WHEN adopted.status = 'processing' THEN reveille_new_lease_token() END,
    completed_by = CASE WHEN adopted.final THEN q.locked_by END,
    traceparent = CASE WHEN adopted.final OR q.traceparent IS NOT NULL THEN q.traceparent
        ELSE '00-' || replace(gen_random_uuid()::text, '-', '') || '-' || right(replace(gen_random_uuid()::text, '-', ''), 16) || '-01' END,
    tracestate = CASE WHEN adopted.final OR q.traceparent IS NOT NULL THEN q.tracestate ELSE 'reveille=minted' END
FROM (
    SELECT known.id, known.complaint, t.pool, known.status IN ('completed', 'failed', 'cancelled') AS final,
           CASE WHEN known.status = 'queued' AND known.next_retry_at > reveille_now() THEN 'retry' ELSE known.status END AS status
    FROM (
        SELECT id, task_type, next_retry_at,
            CASE
                WHEN word IN ('completed', 'failed', 'cancelled') THEN word
                WHEN word IN ('done', 'success', 'succeeded', 'finished') THEN 'completed'
                WHEN word IN ('error', 'errored') THEN 'failed'
                WHEN word IN ('canceled', 'skipped') THEN 'cancelled'
                WHEN task_type !~ '^[a-z][a-z0-9_]*$' THEN 'failed'
                WHEN word IN ('processing', 'running', 'in_progress', 'started') THEN 'processing'
                WHEN word IN ('queued', 'pending', 'waiting', 'new', '') THEN 'queued'
                WHEN word IN ('retry', 'blocked') THEN word
                ELSE 'failed' END AS status,
            CASE
                WHEN word IN ('completed', 'failed', 'cancelled', 'done', 'success', 'succeeded', 'finished', 'error', 'errored',
                              'canceled', 'skipped') THEN NULL
                WHEN task_type !~ '^[a-z][a-z0-9_]*$' THEN format('adopted with the task type "%s", which nobody can claim', task_type)
                WHEN word IN ('processing', 'running', 'in_progress', 'started', 'queued', 'pending', 'waiting', 'new', '', 'retry',
                              'blocked') THEN NULL
                ELSE format('adopted with the unknown status "%s"', word) END AS complaint
        FROM (SELECT id, task_type, next_retry_at, lower(trim(coalesce(status, ''))) AS word FROM processing_queue) AS rows
    ) AS known LEFT JOIN task_types t ON t.name = known.task_type
) AS adopted
WHERE adopted.id = q.id;

ALTER TABLE processing_queue
    ALTER COLUMN priority SET DEFAULT 1, ALTER COLUMN priority SET NOT NULL,
    ALTER COLUMN processing_options SET DEFAULT '{}', ALTER COLUMN processing_options SET NOT NULL,
    ALTER COLUMN status SET DEFAULT 'queued', ALTER COLUMN status SET NOT NULL,
    ALTER COLUMN progress_percentage SET DEFAULT 0, ALTER COLUMN progress_percentage SET NOT NULL,
    ALTER COLUMN created_at SET NOT NULL,  -- the insert trigger fills it: a DEFAULT reveille_now() was parsed in each INSERT
    ALTER COLUMN retry_count SET DEFAULT 0, ALTER COLUMN retry_count SET NOT NULL,
    ALTER COLUMN max_retries SET DEFAULT NULL,  -- the insert trigger takes the task type's
    ALTER COLUMN error_count SET DEFAULT 0, ALTER COLUMN error_count SET NOT NULL;
-- What the columns may hold is checked by triggers (0003): CHECK constraints were half the cost of an INSERT.

-- The claim's own index: exactly the claimable rows, in the order in which they are taken.
CREATE INDEX processing_queue_claimable ON processing_queue (task_type, priority DESC, id) WHERE status = 'queued';
CREATE INDEX processing_queue_due ON processing_queue (next_retry_at) WHERE status = 'retry';
CREATE INDEX processing_queue_blocked ON processing_queue (id) WHERE status = 'blocked';
CREATE INDEX processing_queue_held ON processing_queue (lease_token) WHERE status = 'processing';
CREATE INDEX processing_queue_ended ON processing_queue (completed_at) WHERE completed_at IS NOT NULL;
CREATE INDEX processing_queue_document ON processing_queue (document_id);
CREATE INDEX processing_queue_revivable ON processing_queue (cancelled_by_task_id) WHERE cancelled_by_task_id IS NOT NULL;
CREATE UNIQUE INDEX processing_queue_dedupe ON processing_queue (dedupe_key)
    WHERE dedupe_key IS NOT NULL AND status IN ('blocked', 'queued', 'processing', 'retry');

-- Dead rows are what slows a queue down: vacuum early, without pauses.
ALTER TABLE processing_queue SET (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

-- Attempts that ended otherwise than well. The last one, when it succeeded, is the task's own row.
CREATE TABLE task_attempts (
    task_id bigint NOT NULL REFERENCES processing_queue (id) ON DELETE CASCADE,
    attempt integer NOT NULL,
    lease_token bigint NOT NULL PRIMARY KEY,
    server_id varchar(255),
    started_at timestamptz,
    ended_at timestamptz NOT NULL DEFAULT reveille_now(),
    outcome varchar(20) NOT NULL CHECK (outcome IN ('retry', 'failed', 'lost', 'released', 'cancelled', 'outside')),
    reason varchar(50),
    error text
);
CREATE INDEX task_attempts_task ON task_attempts (task_id, attempt);
CREATE INDEX task_attempts_server ON task_attempts (server_id, ended_at);

-- Attempts that ended where no process of ours could write their span: with a worker that died, or with a server that is
-- none of ours. The heartbeat monitor writes it, and takes the row away. Rows of tasks that are gone go the same way.
CREATE TABLE untraced_attempts (
    lease_token bigint NOT NULL PRIMARY KEY,
    task_id bigint NOT NULL,
    attempt integer NOT NULL,
    server_id varchar(255),
    claimable_at timestamptz,
    started_at timestamptz,
    ended_at timestamptz NOT NULL DEFAULT reveille_now(),
    outcome varchar(20) NOT NULL,
    reason varchar(50),
    error text,
    previous_traceparent text
);

-- What a task has finished so far, so that its next attempt goes on from there. Gone when the task completes.
CREATE TABLE task_checkpoints (
    task_id bigint NOT NULL REFERENCES processing_queue (id) ON DELETE CASCADE,
    key varchar(100) NOT NULL,
    value jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT reveille_now(),
    PRIMARY KEY (task_id, key)
);

-- Finished tasks that have left the queue (0009 moves them), a partition a month by their end. Columns of the backend's own
-- come along; reveille_history keeps what else was known: archived_at, attempts, steps, edges.
CREATE TABLE processing_queue_archive (LIKE processing_queue, reveille_history jsonb NOT NULL DEFAULT '{}')
    PARTITION BY RANGE (completed_at);
CREATE INDEX processing_queue_archive_id ON processing_queue_archive (id);
CREATE INDEX processing_queue_archive_document ON processing_queue_archive (document_id);
CREATE INDEX processing_queue_archive_revivable ON processing_queue_archive (cancelled_by_task_id) WHERE cancelled_by_task_id IS NOT NULL;
CREATE INDEX processing_queue_archive_ended ON processing_queue_archive (completed_at);

-- Dependencies -------------------------------------------------------------------------------------------------

ALTER TABLE task_dependencies
    ADD COLUMN IF NOT EXISTS dependency_type varchar(20),
    ADD COLUMN IF NOT EXISTS created_at timestamptz,
    ADD COLUMN satisfied_at timestamptz;  -- one row per outstanding parent: no counter that could drift

SELECT reveille_set_aside('task_dependencies', 'no such task',
    'NOT EXISTS (SELECT 1 FROM processing_queue q WHERE q.id = r.dependent_task_id) OR r.depends_on_task_id IS NULL');
SELECT reveille_set_aside('task_dependencies', 'said twice',
    'r.id IN (SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY dependent_task_id, depends_on_task_id ORDER BY id) AS nth
              FROM task_dependencies) AS said WHERE nth > 1)');
UPDATE task_dependencies SET dependency_type = 'completion'
WHERE dependency_type IS NULL OR dependency_type NOT IN ('completion', 'success_only', 'finished');
UPDATE task_dependencies SET created_at = reveille_now() WHERE created_at IS NULL;

ALTER TABLE task_dependencies
    ALTER COLUMN dependent_task_id SET NOT NULL, ALTER COLUMN depends_on_task_id SET NOT NULL,
    ALTER COLUMN dependency_type SET DEFAULT 'completion', ALTER COLUMN dependency_type SET NOT NULL,
    ALTER COLUMN created_at SET DEFAULT reveille_now(), ALTER COLUMN created_at SET NOT NULL,
    ADD CONSTRAINT task_dependencies_type_known CHECK (dependency_type IN ('completion', 'success_only', 'finished')),
    ADD CONSTRAINT task_dependencies_dependent_task_id_fkey  -- a parent may be deleted: its dependents are cancelled
        FOREIGN KEY (dependent_task_id) REFERENCES processing_queue (id) ON DELETE CASCADE;
CREATE UNIQUE INDEX task_dependencies_edge ON task_dependencies (dependent_task_id, depends_on_task_id);
CREATE INDEX task_dependencies_outstanding_of_parent ON task_dependencies (depends_on_task_id) WHERE satisfied_at IS NULL;
CREATE INDEX task_dependencies_outstanding_of_child ON task_dependencies (dependent_task_id) WHERE satisfied_at IS NULL;

-- Adopted tasks wait for their parents from now on, also for those that only processing_options names.
INSERT INTO task_dependencies (dependent_task_id, depends_on_task_id)
SELECT DISTINCT declared.id, parent.id
FROM (SELECT q.id, CASE WHEN entry ~ '^[0-9]{1,18}$' THEN entry::bigint END AS parent
      FROM processing_queue q
      CROSS JOIN LATERAL jsonb_array_elements_text(CASE jsonb_typeof(q.processing_options -> 'depends_on')
          WHEN 'array' THEN q.processing_options -> 'depends_on'
          WHEN 'null' THEN '[]'
          ELSE coalesce(jsonb_build_array(q.processing_options -> 'depends_on'), '[]') END) AS entry
      WHERE q.status IN ('queued', 'retry', 'blocked') AND q.processing_options ? 'depends_on') AS declared
JOIN processing_queue parent ON parent.id = declared.parent AND parent.id <> declared.id
ON CONFLICT DO NOTHING;

-- A parent that is gone or is the task itself never held anybody back; one that failed does, until it is redriven.
UPDATE task_dependencies d SET satisfied_at = reveille_now()
FROM task_dependencies e LEFT JOIN processing_queue parent ON parent.id = e.depends_on_task_id
WHERE e.id = d.id AND d.satisfied_at IS NULL
  AND (parent.id IS NULL OR parent.id = e.dependent_task_id OR parent.status = 'completed'
       OR (e.dependency_type = 'finished' AND parent.status IN ('failed', 'cancelled')));

UPDATE processing_queue q SET depends_on = edges.parents,
    status = CASE WHEN edges.outstanding THEN 'blocked' WHEN q.status = 'blocked' THEN 'queued' ELSE q.status END,
    claimable_at = CASE WHEN NOT edges.outstanding THEN coalesce(q.claimable_at, q.created_at) END
FROM (SELECT dependent_task_id, array_agg(depends_on_task_id ORDER BY depends_on_task_id) AS parents,
             bool_or(satisfied_at IS NULL) AS outstanding
      FROM task_dependencies GROUP BY dependent_task_id) AS edges
WHERE edges.dependent_task_id = q.id AND q.status IN ('queued', 'retry', 'blocked');

UPDATE processing_queue q SET status = 'queued', claimable_at = q.created_at
WHERE q.status = 'blocked' AND NOT EXISTS (SELECT 1 FROM task_dependencies d WHERE d.dependent_task_id = q.id);

-- Progress -----------------------------------------------------------------------------------------------------

ALTER TABLE processing_progress
    ADD COLUMN IF NOT EXISTS step_name varchar(255),
    ADD COLUMN IF NOT EXISTS step_status varchar(20),
    ADD COLUMN IF NOT EXISTS progress_percentage integer,
    ADD COLUMN IF NOT EXISTS message text,
    ADD COLUMN IF NOT EXISTS step_data jsonb,
    ADD COLUMN IF NOT EXISTS created_at timestamptz;

SELECT reveille_set_aside('processing_progress', 'no such task',
    'NOT EXISTS (SELECT 1 FROM processing_queue q WHERE q.id = r.processing_queue_id)');
UPDATE processing_progress SET created_at = reveille_now() WHERE created_at IS NULL;
ALTER TABLE processing_progress
    ALTER COLUMN processing_queue_id SET NOT NULL,
    ALTER COLUMN created_at SET DEFAULT reveille_now(), ALTER COLUMN created_at SET NOT NULL,
    ADD CONSTRAINT processing_progress_processing_queue_id_fkey
        FOREIGN KEY (processing_queue_id) REFERENCES processing_queue (id) ON DELETE CASCADE;
CREATE INDEX processing_progress_task ON processing_progress (processing_queue_id, id);
DROP FUNCTION reveille_set_aside;

-- Servers ------------------------------------------------------------------------------------------------------

ALTER TABLE processing_servers
    ADD COLUMN IF NOT EXISTS container_id varchar(255),
    ADD COLUMN IF NOT EXISTS status varchar(20),
    ADD COLUMN IF NOT EXISTS capabilities jsonb,
    ADD COLUMN IF NOT EXISTS current_load integer,
    ADD COLUMN IF NOT EXISTS max_concurrent_tasks integer,
    ADD COLUMN IF NOT EXISTS last_heartbeat timestamptz,
    ADD COLUMN IF NOT EXISTS created_at timestamptz,
    ADD COLUMN IF NOT EXISTS updated_at timestamptz,
    ADD COLUMN status_reason text,
    ADD COLUMN epoch bigint NOT NULL DEFAULT 0,        -- this registration; a server declared lost must register anew
    ADD COLUMN presence_key integer GENERATED BY DEFAULT AS IDENTITY,  -- advisory lock its connection holds while it lives
    ADD COLUMN has_presence boolean NOT NULL DEFAULT false,  -- holds that lock (workers do, external servers do not)
    ADD COLUMN disconnected_at timestamptz,            -- monitor: when the lock was first seen missing
    ADD COLUMN IF NOT EXISTS pool varchar(50),
    ADD COLUMN IF NOT EXISTS version text,
    ADD COLUMN IF NOT EXISTS http_url text,
    ADD COLUMN IF NOT EXISTS started_at timestamptz;

-- What a server takes: {"visual_analysis": true}; a list of names means the same, JSON in a string is read.
CREATE FUNCTION reveille_capabilities(said jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(said)
    WHEN 'object' THEN said
    WHEN 'string' THEN CASE WHEN said #>> '{}' ~ '^\s*[\[{]' THEN reveille_parse_object(said #>> '{}') ELSE '{}' END
    WHEN 'array' THEN (SELECT coalesce(jsonb_object_agg(name, true), '{}') FROM jsonb_array_elements_text(said) AS name)
    ELSE '{}' END;

UPDATE processing_servers SET
    status = CASE
        WHEN lower(status) IN ('starting', 'active', 'draining', 'inactive', 'lost') THEN lower(status)
        WHEN status IS NULL OR lower(status) IN ('busy', 'idle', 'online', 'ready', 'running') THEN 'active'
        ELSE 'inactive' END,
    capabilities = reveille_capabilities(capabilities),
    current_load = greatest(coalesce(current_load, 0), 0),
    max_concurrent_tasks = greatest(coalesce(max_concurrent_tasks, 5), 1),
    created_at = coalesce(created_at, reveille_now()),
    updated_at = coalesce(updated_at, reveille_now());

ALTER TABLE processing_servers
    ALTER COLUMN status SET DEFAULT 'active', ALTER COLUMN status SET NOT NULL,
    ALTER COLUMN capabilities SET DEFAULT '{}', ALTER COLUMN capabilities SET NOT NULL,
    ALTER COLUMN current_load SET DEFAULT 0, ALTER COLUMN current_load SET NOT NULL,
    ALTER COLUMN max_concurrent_tasks SET DEFAULT 5, ALTER COLUMN max_concurrent_tasks SET NOT NULL,
    ALTER COLUMN created_at SET DEFAULT reveille_now(), ALTER COLUMN created_at SET NOT NULL,
    ALTER COLUMN updated_at SET DEFAULT reveille_now(), ALTER COLUMN updated_at SET NOT NULL,
    ADD CONSTRAINT processing_servers_status_known CHECK (status IN ('starting', 'active', 'draining', 'inactive', 'lost')),
    ADD CONSTRAINT processing_servers_presence_key UNIQUE (presence_key);
ALTER TABLE processing_servers SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_cost_delay = 0);

DO $$
DECLARE
    theirs record;
BEGIN
    FOR theirs IN SELECT * FROM reveille_disabled LOOP
        EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER %I', theirs.tbl,
            CASE theirs.state WHEN 'R' THEN 'REPLICA' WHEN 'A' THEN 'ALWAYS' END, theirs.name);
    END LOOP;
END $$;
