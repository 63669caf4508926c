-- Rows of both databases. Times are UTC without saying so; document 1 and 2 are decks.

INSERT INTO project_documents (id, file_name) VALUES (1, 'alpha.pdf'), (2, 'beta.pdf');
SELECT setval('project_documents_id_seq', 2);

INSERT INTO processing_queue
    (id, document_id, task_type, status, priority, file_path, company_id, processing_options, retry_count, max_retries, error_count,
     progress_percentage, created_at, started_at, completed_at, next_retry_at, locked_by, locked_at, lock_expires_at, last_error)
VALUES
    (1, 1, 'visual_analysis', 'completed', 1, 'a.pdf', 'acme', '{}', 0, 3, 0, 100,
        '2026-03-01 10:00', '2026-03-01 10:01', '2026-03-01 10:09', NULL, 'gpu-live', '2026-03-01 10:01', '2026-03-01 10:31', NULL),
    (2, 1, 'template_analysis', 'failed', 2, 'a.pdf', 'acme', '{}', 3, 3, 4, 40,
        '2026-03-01 10:00', '2026-03-01 10:01', NULL, NULL, NULL, NULL, NULL, 'model fell over'),
    (3, 1, 'slide_feedback', 'queued', 1, 'a.pdf', 'acme', '{}', 0, 3, 0, 0,
        '2026-03-01 10:00', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (4, 1, 'slide_feedback', 'queued', NULL, 'a.pdf', 'acme', NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (5, 2, 'visual_analysis', 'processing', 1, 'b.pdf', 'acme', '{}', 1, 3, 1, 30,
        '2026-03-01 10:00', timezone('utc', now()), NULL, NULL, 'gpu-live', timezone('utc', now()),
        timezone('utc', now()) + interval '25 minutes', NULL),
    (6, 2, 'visual_analysis', 'processing', 1, 'b.pdf', 'acme', '{}', NULL, NULL, NULL, 30,
        '2026-03-01 10:00', '2026-03-01 10:05', NULL, NULL, 'gpu-gone', NULL, NULL, NULL),
    (7, 2, 'startup_name_extraction', 'retry', 1, 'b.pdf', 'acme', '{}', 1, 3, 1, 0,
        '2026-03-01 10:00', NULL, NULL, '2026-03-01 11:00', NULL, NULL, NULL, 'busy'),
    (8, 2, 'startup_name_extraction', 'retry', 1, 'b.pdf', 'acme', '{}', 1, 3, 1, 0,
        '2026-03-01 10:00', NULL, NULL, NULL, NULL, NULL, NULL, 'busy'),
    (9, 2, 'startup_name_extraction', 'retry', 1, 'b.pdf', 'acme', '{}', 1, 3, 1, 0,
        '2026-03-01 10:00', NULL, NULL, '2099-01-01 00:00', NULL, NULL, NULL, 'busy'),
    (10, 2, 'deck_date_extraction', 'queued', 0, 'b.pdf', 'acme', '{}', 0, 3, 0, 0,
        '2026-03-01 10:00', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (11, 2, 'deck_date_extraction', 'queued', 5, 'b.pdf', 'acme', '{}', 0, 3, 0, 0,
        '2026-03-01 10:00', NULL, NULL, NULL, 'gpu-gone', '2026-03-01 10:00', '2026-03-01 10:30', NULL),
    (12, 2, 'extractions_and_template', 'queued', 1, 'b.pdf', 'acme', '{}', 0, 3, 0, 0,
        '2026-03-01 10:00', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (13, 2, 'specialized_clinical', 'queued', 1, 'b.pdf', 'acme', '{"depends_on": 12}', 0, 3, 0, 0,
        '2026-03-01 10:00', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (14, 2, 'specialized_science', 'retry', 1, 'b.pdf', 'acme', '{"depends_on": [1, "12"]}', 0, 3, 0, 0,
        '2026-03-01 10:00', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (15, 1, 'healthcare_classification', 'queued', 1, 'a.pdf', 'acme', '{"depends_on": 1}', 0, 3, 0, 0,
        '2026-03-01 10:00', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (16, 1, 'specialized_regulatory', 'queued', 1, 'a.pdf', 'acme', '{}', 0, 3, 0, 0,
        '2026-03-01 10:00', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (17, 1, 'legacy_ocr', 'queued', 1, 'a.pdf', 'acme', '{"depends_on": 9999}', 0, 3, 0, 0,
        '2026-03-01 10:00', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (18, 1, 'visual_analysis', 'queued', 1, 'a.pdf', 'acme', '{"depends_on": null}', 0, 3, 0, 0,
        '2026-03-01 10:00', NULL, NULL, '2099-01-01 00:00', NULL, NULL, NULL, NULL);

INSERT INTO task_dependencies (dependent_task_id, depends_on_task_id, dependency_type) VALUES
    (12, 5, 'completion'), (15, 1, NULL), (16, 2, 'success_only');
INSERT INTO processing_progress (processing_queue_id, step_name, step_status, progress_percentage, message, step_data, created_at) VALUES
    (1, 'slides', 'completed', 100, 'done', '{"slides": 11}', '2026-03-01 10:09'),
    (5, 'slides', 'started', 30, NULL, NULL, NULL);
INSERT INTO processing_servers (id, server_type, status, capabilities, current_load, max_concurrent_tasks, last_heartbeat, created_at) VALUES
    ('gpu-live', 'gpu', 'active', '{"visual_analysis": true}', 1, 2, timezone('utc', now()), '2026-01-01'),
    ('gpu-bare', 'gpu', NULL, NULL, NULL, NULL, NULL, NULL);
