-- calls of a class and day whose row was recorded after a recorded_seq: new since then, or restated
SELECT toString(r.event_id) AS event_id
FROM requests AS r FINAL
WHERE r.retention_class = {class:String}
    AND r.time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND r.time < fromUnixTimestamp64Micro({to:Int64}, 'UTC')
    AND r.recorded_seq > {through:UInt64}
SETTINGS do_not_merge_across_partitions_select_final = 1
