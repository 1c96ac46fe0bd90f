-- restatements in order
SELECT restatement, kind, toUnixTimestamp64Micro(from_time) AS from_us, toUnixTimestamp64Micro(to_time) AS to_us, governance, reason, state, through_seq, entries, days, recorded_seq, version
FROM restatements FINAL
ORDER BY restatement
