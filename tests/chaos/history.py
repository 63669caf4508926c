"""Every transition of every task, noted by triggers that only a chaos run has.

The audit reads this instead of believing the rows: a task that was completed twice looks like one
that was completed once.
"""

from reveille.database import Connection

LOAD = "chaos load"  # application_name of the backend: whoever else changes a task is a service

CREATE = """
CREATE TABLE chaos_history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id bigint NOT NULL,
    was varchar,
    became varchar,          -- NULL: deleted
    lease_token bigint,      -- the new one, or the old one when it ends
    server_id varchar,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    by_whom text NOT NULL DEFAULT current_setting('application_name')
);
CREATE INDEX ON chaos_history (task_id, id);

CREATE FUNCTION chaos_note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO chaos_history (task_id, was, became, lease_token, server_id)
    VALUES (coalesce(NEW.id, OLD.id), OLD.status, NEW.status,
            coalesce(NEW.lease_token, OLD.lease_token), coalesce(NEW.locked_by, OLD.locked_by));
    RETURN NULL;
END $$;

CREATE TRIGGER chaos_came AFTER INSERT ON processing_queue FOR EACH ROW EXECUTE FUNCTION chaos_note();
CREATE TRIGGER chaos_went AFTER DELETE ON processing_queue FOR EACH ROW EXECUTE FUNCTION chaos_note();
CREATE TRIGGER chaos_changed AFTER UPDATE ON processing_queue FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.lease_token IS DISTINCT FROM NEW.lease_token)
    EXECUTE FUNCTION chaos_note();

-- Every task's result rows per table, with the transactions that wrote them.
CREATE VIEW chaos_results AS
SELECT task_id, source, count(*) AS rows, min(written_by) AS xid, count(DISTINCT written_by) AS xids
FROM (SELECT task_id, 'visual_analysis_results' AS source, xmin::text::bigint AS written_by FROM visual_analysis_results
      UNION ALL SELECT task_id, 'slide_feedback', xmin::text::bigint FROM slide_feedback
      UNION ALL SELECT task_id, 'extraction_results', xmin::text::bigint FROM extraction_results
      UNION ALL SELECT task_id, 'template_analysis_results', xmin::text::bigint FROM template_analysis_results
      UNION ALL SELECT task_id, 'specialized_analysis_results', xmin::text::bigint FROM specialized_analysis_results
     ) AS written
GROUP BY task_id, source;
"""


async def keep_history(connection: Connection) -> None:
    """Note transitions from now on."""
    await connection.execute(CREATE)
