-- How many tasks of the document $1 are in which state.
SELECT status, count(*)::integer AS tasks FROM processing_queue_all WHERE document_id = $1 GROUP BY status
