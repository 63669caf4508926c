-- Who holds the task $1, or ended it, and how.
SELECT status, locked_by, completed_by FROM processing_queue WHERE id = $1
