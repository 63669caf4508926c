-- What is known of the server $1.
SELECT status, has_presence, capabilities FROM processing_servers WHERE id = $1
