-- breaking: no
-- What the report counts as available: spans of time in which a part of the system was well, extended while it is.
-- Nobody has to notice an outage: what is not covered by a span was one.
CREATE TABLE uptime_spans (
    part varchar(20) NOT NULL CHECK (part IN ('gateway', 'monitor', 'workers')),
    instance varchar(255) NOT NULL,  -- the process that says so, this life of it
    began_at timestamptz NOT NULL DEFAULT reveille_now(),
    ended_at timestamptz NOT NULL DEFAULT reveille_now(),
    PRIMARY KEY (part, instance, began_at)
);

INSERT INTO reveille_privileges (role_name, privileges, object_kind, object_name) VALUES
    ('reveille_gateway', 'SELECT, INSERT, UPDATE (ended_at)', 'TABLE', 'uptime_spans'),
    ('reveille_monitor', 'SELECT, INSERT, UPDATE (ended_at), DELETE', 'TABLE', 'uptime_spans'),
    ('reveille_readonly', 'SELECT', 'TABLE', 'uptime_spans');
