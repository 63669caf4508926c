-- The status of the task $1, held still until the end of the transaction; one in the archive changes only by being restored.
SELECT coalesce((SELECT status FROM processing_queue WHERE id = $1 FOR UPDATE),
                (SELECT status FROM processing_queue_archive WHERE id = $1)) AS status
