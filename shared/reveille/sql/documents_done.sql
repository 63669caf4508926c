-- How many documents had a task completed between $1 and $2.
SELECT count(DISTINCT document_id)::integer FROM processing_queue_all
WHERE status = 'completed' AND completed_at >= $1 AND completed_at < $2
