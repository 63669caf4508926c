-- The four tables as an object mapper made them: no default on any column, enum and text for status and JSON, names of its
-- own, deferred foreign keys, none between the four; and what collects in such tables over the years.

CREATE TABLE project_documents (id SERIAL PRIMARY KEY, file_name VARCHAR(255), created_at TIMESTAMP);
CREATE TYPE queue_status AS ENUM ('queued', 'processing', 'completed', 'failed', 'retry', 'PAUSED', 'Queued');
CREATE SEQUENCE queue_numbers;

CREATE TABLE processing_queue (
    id INTEGER NOT NULL DEFAULT nextval('queue_numbers'),
    document_id INTEGER NOT NULL CONSTRAINT fk_document REFERENCES project_documents(id) DEFERRABLE INITIALLY DEFERRED,
    task_type VARCHAR(50) NOT NULL,
    priority SMALLINT,
    file_path VARCHAR(500),
    company_id VARCHAR(255),
    processing_options TEXT,
    status queue_status,
    progress_percentage DOUBLE PRECISION,
    current_step TEXT,
    progress_message TEXT,
    last_progress_update TIMESTAMP,
    created_at TIMESTAMP,
    started_at TIMESTAMP,
    completed_at TIMESTAMP,
    processing_duration_seconds NUMERIC(10, 2),
    retry_count INTEGER,
    max_retries INTEGER,
    error_count INTEGER,
    last_error TEXT,
    next_retry_at TIMESTAMP,
    locked_by VARCHAR(255),
    locked_at TIMESTAMP,
    lock_expires_at TIMESTAMP,
    results_file_path VARCHAR(500),
    processing_metadata JSON,
    CONSTRAINT queue_pk PRIMARY KEY (id)
);

CREATE TABLE processing_servers (
    id VARCHAR(255) CONSTRAINT servers_pk PRIMARY KEY,
    server_type VARCHAR(50) NOT NULL,
    container_id VARCHAR(255),
    status VARCHAR(20),
    capabilities JSON,
    current_load INTEGER,
    max_concurrent_tasks INTEGER,
    last_heartbeat TIMESTAMP,
    created_at TIMESTAMP,
    updated_at TIMESTAMP
);

CREATE TABLE task_dependencies (
    id SERIAL PRIMARY KEY,
    dependent_task_id INTEGER,
    depends_on_task_id INTEGER,
    dependency_type VARCHAR(50),
    created_at TIMESTAMP
);

CREATE TABLE processing_progress (
    id BIGSERIAL PRIMARY KEY,
    processing_queue_id INTEGER,
    step_name VARCHAR(255),
    step_status VARCHAR(20),
    progress_percentage INTEGER,
    message TEXT,
    step_data JSON,
    created_at TIMESTAMP
);

-- rows --

-- A column that nobody but the mapper fills.
ALTER TABLE processing_queue ADD COLUMN updated_at TIMESTAMP;
UPDATE processing_queue SET updated_at = '2026-01-01';
ALTER TABLE processing_queue ALTER COLUMN updated_at SET NOT NULL;

INSERT INTO processing_queue (id, document_id, task_type, status, priority, retry_count, progress_percentage, processing_options, updated_at) VALUES
    (101, 1, 'slide_feedback', NULL, NULL, NULL, NULL, NULL, '2026-01-01'),
    (102, 1, 'slide_feedback', 'Queued', 2, -1, 120.4, 'not json', '2026-01-01'),
    (103, 1, 'slide_feedback', 'PAUSED', 1, 0, -5, '[1, 2]', '2026-01-01'),
    (104, 1, 'Old Style-Type', 'queued', 1, 0, 0, '{"depends_on": "soon"}', '2026-01-01'),
    (105, 1, 'slide_feedback', 'queued', 1, 0, 0, '{"depends_on": 105}', '2026-01-01'),
    (106, 1, 'slide_feedback', 'queued', 1, 0, 0, '"{\"depends_on\": [3]}"', '2026-01-01');
INSERT INTO processing_servers (id, server_type, status, capabilities) VALUES
    ('orm-list', 'gpu', 'busy', '["visual_analysis", "slide_feedback"]'),
    ('orm-odd', 'gpu', 'retired', '"nothing"');
INSERT INTO task_dependencies (dependent_task_id, depends_on_task_id, dependency_type) VALUES
    (12, 5, 'hard'),       -- said twice
    (9999, 5, 'hard'),     -- of a task that is gone
    (17, 9999, NULL),      -- on a task that is gone
    (NULL, 5, NULL);
INSERT INTO processing_progress (processing_queue_id, step_name) VALUES (9999, 'of a task that is gone'), (NULL, 'of none');
SELECT setval('queue_numbers', 200);
