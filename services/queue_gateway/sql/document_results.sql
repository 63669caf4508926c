-- The results of the document $1 as one JSON object; no row when there are none yet.
SELECT results FROM document_results WHERE document_id = $1
