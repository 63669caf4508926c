-- Documents, newest first: of the company $1 (NULL: all), ids before $2 (NULL: all), $3 rows at most.
SELECT id, filename, media_type, sha256, size_bytes, company_id, created_at
FROM documents
WHERE ($1::varchar IS NULL OR company_id = $1) AND ($2::bigint IS NULL OR id < $2)
ORDER BY id DESC LIMIT $3
