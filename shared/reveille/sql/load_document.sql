SELECT content FROM documents WHERE id = $1
