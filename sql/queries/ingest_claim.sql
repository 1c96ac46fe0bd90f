-- who has written a version of a restatement
SELECT kind, recorded_seq, toUnixTimestamp64Micro(changed_at) AS changed_at
FROM restatements
WHERE restatement = {restatement:UInt32} AND version = {version:UInt32}
