-- Queue those of the tasks $1 that wait for nothing.
SELECT reveille_release($1::bigint[])
