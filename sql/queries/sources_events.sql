-- the events of the table page
SELECT e.raw AS raw
FROM events AS e
WHERE (e.time, e.event_id) IN (SELECT time, event_id FROM page)
ORDER BY e.time DESC, e.event_id DESC
LIMIT 1 BY e.time, e.event_id
