-- How many tasks each of the documents $1 has, by how they stand.
SELECT document_id, count(*)::integer AS tasks,
    (count(*) FILTER (WHERE status IN ('blocked', 'queued', 'processing', 'retry')))::integer AS live,
    (count(*) FILTER (WHERE status = 'failed'))::integer AS failed,
    (count(*) FILTER (WHERE status = 'completed'))::integer AS completed,
    coalesce(avg(CASE WHEN status = 'completed' THEN 100 ELSE progress_percentage END), 0)::integer AS progress_percentage
FROM processing_queue WHERE document_id = ANY ($1::bigint[]) GROUP BY document_id
