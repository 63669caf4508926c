-- Enqueue the whole pipeline: document $1, file $2, company $3, priority $4, options $5, trace context $6 and $7.
SELECT id FROM enqueue_document($1, $2, $3, $4, $5, $6, $7) AS id
