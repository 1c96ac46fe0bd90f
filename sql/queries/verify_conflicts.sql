-- events of a period that are stored with different bytes
SELECT toString(event_id) AS id
FROM events
WHERE time >= {from:DateTime64(6, 'UTC')} AND time < {to:DateTime64(6, 'UTC')}
GROUP BY time, event_id
HAVING min(digest) != max(digest)
LIMIT 21
SETTINGS optimize_aggregation_in_order = 1
