-- Containers that failed in a row, per pool and offer: since the last of that offer that was ready and did not die within a minute. One
-- that was ready and died may be replaced at once; from the second on it looks like a crash loop. One whose GPU was taken away counts
-- however long it was ready. What is a day old is forgotten.
SELECT f.pool, f.provider, f.gpu, f.region, f.spot,
    (count(*) FILTER (WHERE f.ready_at IS NULL OR f.trouble = 'capacity')
        + greatest(count(*) FILTER (WHERE f.ready_at IS NOT NULL AND coalesce(f.trouble, '') <> 'capacity') - 1, 0))::integer AS failures,
    extract(epoch FROM reveille_now() - max(f.ended_at))::double precision AS ago_seconds,
    coalesce((array_agg(f.trouble ORDER BY f.id DESC))[1], 'other') AS trouble
FROM containers f
WHERE f.state = 'failed' AND f.ended_at > reveille_now() - interval '1 day'
  AND NOT EXISTS (
      SELECT 1 FROM containers r
      WHERE r.pool = f.pool AND r.id > f.id AND r.provider = f.provider AND r.spot = f.spot
        AND r.gpu IS NOT DISTINCT FROM f.gpu AND r.region IS NOT DISTINCT FROM f.region
        AND r.ready_at IS NOT NULL AND (r.state <> 'failed' OR r.ended_at - r.ready_at >= interval '1 min'))
  AND NOT (f.ready_at IS NOT NULL AND f.ended_at - f.ready_at >= interval '1 min' AND coalesce(f.trouble, '') <> 'capacity')
GROUP BY f.pool, f.provider, f.gpu, f.region, f.spot
