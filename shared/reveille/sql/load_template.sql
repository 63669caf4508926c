-- The analysis template $1, or the default one when $1 is NULL.
SELECT id, name, definition FROM analysis_templates WHERE id = $1 OR ($1::varchar IS NULL AND is_default)
