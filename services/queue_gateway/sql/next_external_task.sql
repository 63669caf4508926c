-- The next task for the external server $1 with the capabilities $2.
SELECT task_id, document_id, task_type, file_path, company_id, processing_options FROM get_next_processing_task($1, $2)
