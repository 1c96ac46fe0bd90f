-- calls of which an adjusted event was recorded in a range of recorded_seq, with the newest of these
SELECT UUIDStringToNum(toString(subject)) AS call, max(recorded_seq) AS newest
FROM events FINAL
WHERE type = 'llm.request.adjusted' AND recorded_seq > {after:UInt64} AND recorded_seq <= {through:UInt64}
GROUP BY subject
SETTINGS do_not_merge_across_partitions_select_final = 1
