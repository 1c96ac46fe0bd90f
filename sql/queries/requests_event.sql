-- the event of one id, within its millisecond
SELECT lower(hex(e.digest)) AS digest_hex, e.writer AS writer, toString(e.seq) AS seq_text, e.topic AS topic, e.partition AS partition, e.offset AS offset, e.raw AS raw
FROM events AS e FINAL
WHERE e.time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND e.time < fromUnixTimestamp64Micro({to:Int64}, 'UTC')
    AND e.event_id = toUUID({id:String}) AND e.recorded_seq <= {as_of:UInt64}
SETTINGS do_not_merge_across_partitions_select_final = 1
