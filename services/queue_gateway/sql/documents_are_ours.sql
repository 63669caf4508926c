-- Whether `documents` is the table of the migrations, and not one of the same name that a backend had before.
SELECT count(*) = 7 AS ours FROM pg_attribute
WHERE attrelid = to_regclass('documents') AND NOT attisdropped
  AND attname IN ('filename', 'media_type', 'sha256', 'size_bytes', 'content', 'company_id', 'created_at')
