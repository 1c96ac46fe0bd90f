-- the current state of one request
SELECT r.cost_status AS cost_status
FROM requests AS r FINAL
WHERE r.time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND r.time < fromUnixTimestamp64Micro({to:Int64}, 'UTC')
    AND r.event_id = toUUID({id:String}) AND r.recorded_seq <= {as_of:UInt64}
SETTINGS do_not_merge_across_partitions_select_final = 1
