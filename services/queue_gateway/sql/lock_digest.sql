-- One upload of a digest at a time, so that two of the same file make one document.
SELECT pg_advisory_xact_lock(hashtextextended($1, 0))
