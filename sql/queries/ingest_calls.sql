-- which of the sent calls are in the books as of a recorded_seq
SELECT UUIDStringToNum(toString(event_id)) AS id, toUnixTimestamp64Micro(time) AS at, recorded_seq
FROM events FINAL
WHERE toUnixTimestamp64Milli(time) IN (SELECT milli FROM sent) AND event_id IN (SELECT event_id FROM sent)
    AND type IN ('llm.request.completed', 'llm.request.recovered', 'llm.request.denied') AND recorded_seq <= {through:UInt64}
SETTINGS do_not_merge_across_partitions_select_final = 1
