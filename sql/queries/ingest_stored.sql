-- which of the sent events are stored, the first record of each last
SELECT UUIDStringToNum(toString(event_id)) AS id, topic, partition, offset, digest
FROM events
WHERE (time, event_id) IN (SELECT time, event_id FROM sent)
ORDER BY recorded_seq DESC
