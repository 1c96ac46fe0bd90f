-- restatements in order; without all, only those that say what comes next: open ones, those of prices and rules, and from the last adjustment on
SELECT restatement, kind, toUnixTimestamp64Micro(from_time) AS from_us, toUnixTimestamp64Micro(to_time) AS to_us, governance, reason, state, through_seq, entries, days, recorded_seq, version, toUnixTimestamp64Micro(changed_at) AS changed
FROM restatements FINAL
WHERE {all:Bool} OR state = 'open' OR kind = 'restate'
    OR restatement >= (SELECT max(restatement) FROM restatements WHERE kind = 'adjust' AND state = 'done')
ORDER BY restatement
