-- how far each partition of a topic has been taken
SELECT partition, max(next_offset) AS next_offset, max(recorded_seq) AS last
FROM batches
WHERE topic = {topic:String}
GROUP BY partition
