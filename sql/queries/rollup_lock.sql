-- the lock of the rollup: the newest row under through_seq 0, which no run has
SELECT state, toUnixTimestamp64Micro(changed_at) AS changed_at
FROM rollups
WHERE through_seq = 0
ORDER BY changed_at DESC
LIMIT 1
