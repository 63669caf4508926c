-- The four tables as a hand-written script made them: serial ids, timestamps in UTC, CHECKs, foreign keys, defaults.

CREATE TABLE project_documents (
    id SERIAL PRIMARY KEY,
    file_name VARCHAR(255),
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE processing_servers (
    id VARCHAR(255) PRIMARY KEY,
    server_type VARCHAR(50) NOT NULL CHECK (server_type IN ('gpu', 'cpu', 'visual_container', 'text_container')),
    container_id VARCHAR(255),
    status VARCHAR(20) DEFAULT 'active' CHECK (status IN ('active', 'inactive')),
    capabilities JSONB DEFAULT '{}',
    current_load INTEGER DEFAULT 0,
    max_concurrent_tasks INTEGER DEFAULT 5,
    last_heartbeat TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE processing_queue (
    id SERIAL PRIMARY KEY,
    document_id INTEGER NOT NULL REFERENCES project_documents(id) ON DELETE CASCADE,
    task_type VARCHAR(50) NOT NULL,
    priority INTEGER DEFAULT 1,
    file_path TEXT NOT NULL,
    company_id VARCHAR(255) NOT NULL,
    processing_options JSONB DEFAULT '{}',
    status VARCHAR(20) DEFAULT 'queued'
        CONSTRAINT status_known CHECK (status IN ('queued', 'processing', 'completed', 'failed', 'retry')),
    progress_percentage INTEGER DEFAULT 0,
    current_step VARCHAR(100),
    progress_message TEXT,
    last_progress_update TIMESTAMP,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    started_at TIMESTAMP,
    completed_at TIMESTAMP,
    processing_duration_seconds INTEGER,
    retry_count INTEGER DEFAULT 0,
    max_retries INTEGER DEFAULT 3,
    error_count INTEGER DEFAULT 0,
    last_error TEXT,
    next_retry_at TIMESTAMP,
    locked_by VARCHAR(255),
    locked_at TIMESTAMP,
    lock_expires_at TIMESTAMP,
    results_file_path TEXT,
    processing_metadata JSONB DEFAULT '{}',
    notes TEXT DEFAULT 'none'
);
CREATE INDEX idx_processing_queue_status ON processing_queue (status, priority DESC, created_at);
CREATE INDEX idx_processing_queue_document ON processing_queue (document_id);
CREATE INDEX idx_processing_queue_locked ON processing_queue (locked_by) WHERE locked_by IS NOT NULL;

CREATE TABLE task_dependencies (
    id SERIAL PRIMARY KEY,
    dependent_task_id INTEGER NOT NULL REFERENCES processing_queue(id) ON DELETE CASCADE,
    depends_on_task_id INTEGER NOT NULL REFERENCES processing_queue(id) ON DELETE CASCADE,
    dependency_type VARCHAR(20) DEFAULT 'completion',
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT one_edge UNIQUE (dependent_task_id, depends_on_task_id)
);

CREATE TABLE processing_progress (
    id SERIAL PRIMARY KEY,
    processing_queue_id INTEGER NOT NULL REFERENCES processing_queue(id) ON DELETE CASCADE,
    step_name VARCHAR(100) NOT NULL,
    step_status VARCHAR(20) NOT NULL,
    progress_percentage INTEGER DEFAULT 0,
    message TEXT,
    step_data JSONB DEFAULT '{}',
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE billing_lines (
    id SERIAL PRIMARY KEY,
    task_id INTEGER REFERENCES processing_queue(id) ON DELETE SET NULL
);

-- Views: one over the queue, one over that view, one that is kept.
CREATE VIEW open_tasks AS
    SELECT * FROM processing_queue WHERE status <> 'completed' AND created_at > '2000-01-01';
COMMENT ON VIEW open_tasks IS 'the dashboard reads this';
CREATE VIEW open_documents AS
    SELECT d.file_name, o.status, o.created_at FROM open_tasks o JOIN project_documents d ON d.id = o.document_id;
CREATE MATERIALIZED VIEW tasks_per_day AS
    SELECT date_trunc('day', created_at) AS day, count(*) AS tasks FROM processing_queue GROUP BY 1;
CREATE UNIQUE INDEX tasks_per_day_day ON tasks_per_day (day);

-- Triggers: one on every update, one that pins columns.
CREATE TABLE audit_log (task_id BIGINT, said TEXT);
CREATE FUNCTION write_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_log VALUES (NEW.id, TG_NAME);
    RETURN NEW;
END $$;
CREATE TRIGGER audit_updates BEFORE UPDATE ON processing_queue FOR EACH ROW EXECUTE FUNCTION write_audit();
CREATE TRIGGER audit_steps AFTER UPDATE OF current_step ON processing_queue
    FOR EACH ROW WHEN (NEW.current_step IS DISTINCT FROM OLD.current_step) EXECUTE FUNCTION write_audit();

-- The functions of today: other bodies, overloads, return types; one is a trigger's.
CREATE FUNCTION get_next_processing_task(p_server_id VARCHAR, p_capabilities JSONB)
RETURNS TABLE (task_id INTEGER, document_id INTEGER, task_type VARCHAR, file_path TEXT, company_id VARCHAR, processing_options JSONB)
LANGUAGE plpgsql AS $$
DECLARE
    selected INTEGER;
BEGIN
    SELECT q.id INTO selected FROM processing_queue q
    WHERE q.status = 'queued' AND (p_capabilities ->> q.task_type)::boolean
    ORDER BY q.priority DESC, q.created_at LIMIT 1 FOR UPDATE SKIP LOCKED;
    UPDATE processing_queue q SET status = 'processing', locked_by = p_server_id, started_at = CURRENT_TIMESTAMP,
        locked_at = CURRENT_TIMESTAMP, lock_expires_at = CURRENT_TIMESTAMP + INTERVAL '30 minutes' WHERE q.id = selected;
    RETURN QUERY SELECT q.id, q.document_id, q.task_type, q.file_path, q.company_id, q.processing_options
                 FROM processing_queue q WHERE q.id = selected;
END $$;
CREATE FUNCTION get_next_processing_task(p_server_id VARCHAR) RETURNS INTEGER LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION update_task_progress(INTEGER, INTEGER, VARCHAR, TEXT DEFAULT NULL, JSONB DEFAULT '{}') RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION complete_task(p_task_id INTEGER, p_success BOOLEAN, p_results_path TEXT DEFAULT NULL,
    p_error TEXT DEFAULT NULL, p_metadata JSONB DEFAULT NULL) RETURNS void LANGUAGE sql
AS 'UPDATE processing_queue SET status = ''completed'' WHERE id = p_task_id';
CREATE FUNCTION complete_task(p_task_id INTEGER) RETURNS TEXT LANGUAGE sql AS 'SELECT ''old''::text';
CREATE PROCEDURE retry_failed_task(p_task_id INTEGER) LANGUAGE sql AS '';
CREATE FUNCTION cleanup_expired_locks() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER clean_locks AFTER INSERT ON processing_servers FOR EACH STATEMENT EXECUTE FUNCTION cleanup_expired_locks();

-- rows --

SELECT setval('task_dependencies_id_seq', 50);
