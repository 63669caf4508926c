-- The document $1 without its bytes.
SELECT id, filename, media_type, sha256, size_bytes, company_id, created_at FROM documents WHERE id = $1
