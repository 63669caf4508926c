-- Where the document $1 lies by its tasks, the newest that says so first. No row: no task, or none with a path.
SELECT file_path FROM processing_queue
WHERE document_id = $1 AND file_path IS NOT NULL AND file_path <> '' ORDER BY id DESC LIMIT 1
