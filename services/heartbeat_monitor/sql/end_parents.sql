-- What the triggers do at the end of a parent, for the parents $1.
SELECT reveille_parents_ended($1::bigint[])
