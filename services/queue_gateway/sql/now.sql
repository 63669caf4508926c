-- The database's time.
SELECT reveille_now()
