-- breaking: no
-- The autoscaler learns from what was: service times and gaps also from tasks that have left the queue. It may see who waits for
-- whom, and forgets its own old decisions.

INSERT INTO reveille_privileges (role_name, privileges, object_kind, object_name) VALUES
    ('reveille_autoscaler', 'SELECT (id, task_type, pool, priority, status, created_at, claimable_at, started_at, completed_at)', 'TABLE',
        'processing_queue_archive'),
    ('reveille_autoscaler', 'SELECT', 'TABLE', 'task_dependencies'),
    ('reveille_autoscaler', 'DELETE', 'TABLE', 'scaling_decisions');
