-- Wish for the container $1 anew, where it was before, because $2. No row: there never was one of that name.
INSERT INTO containers (name, pool, slot, reason)
SELECT name, pool, slot, $2 FROM containers WHERE name = $1 ORDER BY id DESC LIMIT 1
RETURNING id
