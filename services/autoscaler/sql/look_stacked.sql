-- The live containers of the provider $1, as far as it was asked for them.
SELECT c.name FROM containers c
WHERE c.provider = $1 AND c.state IN ('creating', 'booting', 'ready', 'draining') AND c.provider_ref IS NOT NULL
