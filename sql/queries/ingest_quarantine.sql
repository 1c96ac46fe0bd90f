-- a page of what is in quarantine as of a recorded_seq and was not replayed
SELECT topic, partition, offset, reason, raw, toUnixTimestamp64Micro(time) AS at, recorded_seq
FROM quarantine FINAL
WHERE recorded_seq <= {through:UInt64} AND (replayed_seq = 0 OR replayed_seq = {replayed:UInt64})
    AND (topic, partition, offset) > ({topic:String}, {partition:UInt32}, {offset:Int64})
ORDER BY topic, partition, offset
LIMIT 1000
