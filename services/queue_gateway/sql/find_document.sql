-- The oldest document of the company $2 with the digest $1.
SELECT id, filename, media_type, sha256, size_bytes, company_id, created_at
FROM documents WHERE sha256 = $1 AND company_id IS NOT DISTINCT FROM $2
ORDER BY id LIMIT 1
