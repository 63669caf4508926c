-- Keep a document: name $1, digest $2, bytes $3, company $4.
INSERT INTO documents (filename, media_type, sha256, size_bytes, content, company_id)
VALUES ($1, 'application/pdf', $2, octet_length($3::bytea), $3, $4)
RETURNING id, filename, media_type, sha256, size_bytes, company_id, created_at
