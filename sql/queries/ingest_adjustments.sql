-- adjusted events of the calls of a period as of a recorded_seq, in order of the calls' milliseconds
-- Which events those are is looked for without FINAL, in narrow columns. They are a day earlier than their call at most.
SELECT UUIDStringToNum(toString(subject)) AS call, toUnixTimestamp64Milli(UUIDv7ToDateTime(subject, 'UTC')) AS at, raw, recorded_seq
FROM events FINAL
WHERE (time, event_id) IN (
        SELECT time, event_id
        FROM events
        WHERE time >= {from:DateTime64(6, 'UTC')} - INTERVAL 1 DAY AND type = 'llm.request.adjusted'
            AND UUIDv7ToDateTime(subject, 'UTC') >= {from:DateTime64(6, 'UTC')} AND UUIDv7ToDateTime(subject, 'UTC') < {to:DateTime64(6, 'UTC')})
    AND recorded_seq <= {through:UInt64}
ORDER BY at, call
SETTINGS do_not_merge_across_partitions_select_final = 1
