-- cost of the requests of a period as of a recorded_seq, in order of time
SELECT UUIDStringToNum(toString(event_id)) AS id, toUnixTimestamp64Micro(time) AS at, toInt64(cost * 1000000000000) AS pico, cost_status, restatement
FROM requests FINAL
WHERE time >= {from:DateTime64(6, 'UTC')} AND time < {to:DateTime64(6, 'UTC')} AND recorded_seq <= {through:UInt64}
ORDER BY time, event_id
SETTINGS do_not_merge_across_partitions_select_final = 1
