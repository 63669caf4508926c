-- The status of the task $1, held still until the end of the transaction.
SELECT status FROM processing_queue WHERE id = $1 FOR UPDATE
