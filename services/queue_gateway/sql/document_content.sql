-- The bytes of the document $1.
SELECT filename, media_type, sha256, content FROM documents WHERE id = $1
