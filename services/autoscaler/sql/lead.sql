-- $2 leads under the name $1 from now on: a new epoch, so that what its predecessor still writes changes nothing.
INSERT INTO leaders AS l (name, epoch, holder, since) VALUES ($1, 1, $2, reveille_now())
ON CONFLICT (name) DO UPDATE SET epoch = l.epoch + 1, holder = excluded.holder, since = excluded.since
RETURNING epoch
