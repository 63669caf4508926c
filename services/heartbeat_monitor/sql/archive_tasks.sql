-- Of the $3 tasks after the id $2, those that ended more than $1 days ago move to the archive: moved, last_id, lowest_left.
SELECT moved, last_id, lowest_left
FROM reveille_archive_tasks(reveille_now() - make_interval(secs => $1::double precision * 86400), $2::bigint, $3::integer)
