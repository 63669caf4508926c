-- Drop the archive's months that ended more than $1 days ago; the names of their tables.
SELECT reveille_forget_archive(reveille_now() - make_interval(secs => $1::double precision * 86400))
