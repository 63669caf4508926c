-- doubled: a completed task's results are not one set
WITH worked AS (
    SELECT q.id, q.task_type, coalesce(d.pages, 0) AS pages FROM processing_queue q
    LEFT JOIN (VALUES (1, 1), (2, 2), (3, 3)) AS d (id, pages) ON d.id = q.document_id
    WHERE q.status = 'completed' AND (
        SELECT by_whom FROM chaos_history h WHERE h.task_id = q.id AND h.became = 'completed'
        ORDER BY h.id DESC LIMIT 1) <> 'chaos load')
SELECT format('task %s (%s): %s rows in %s tables', w.id, w.task_type,
              coalesce(sum(c.rows), 0), count(c.source)) AS what
FROM worked w LEFT JOIN chaos_results c ON c.task_id = w.id
GROUP BY w.id, w.task_type, w.pages
HAVING coalesce(sum(c.rows), 0) <> CASE w.task_type
        WHEN 'visual_analysis' THEN w.pages WHEN 'slide_feedback' THEN w.pages
        WHEN 'extractions_and_template' THEN 6 ELSE 1 END
