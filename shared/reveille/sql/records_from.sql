-- Since when there are records at all, in the queue, its archive or of containers. NULL: there are none.
SELECT least((SELECT created_at FROM processing_queue ORDER BY id LIMIT 1),
             (SELECT created_at FROM processing_queue_archive ORDER BY id LIMIT 1),
             (SELECT intended_at FROM containers ORDER BY id LIMIT 1))
