-- events of a period as of a recorded_seq, in order of time
SELECT UUIDStringToNum(toString(event_id)) AS id, toUnixTimestamp64Micro(time) AS at, raw, digest, governance, recorded_seq
FROM events FINAL
WHERE time >= {from:DateTime64(6, 'UTC')} AND time < {to:DateTime64(6, 'UTC')} AND recorded_seq <= {through:UInt64}
ORDER BY time, event_id
SETTINGS do_not_merge_across_partitions_select_final = 1
