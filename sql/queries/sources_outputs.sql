-- calls that any of the datasets may have fed, newest first
-- Duplicates of an event have its bytes, so no row needs FINAL. Denied calls gave no answer.
SELECT toUnixTimestamp64Micro(e.time) AS at, toString(e.event_id) AS id, e.raw AS raw
FROM events AS e
WHERE e.time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND e.time <= fromUnixTimestamp64Micro({before:Int64}, 'UTC')
    AND (e.time < fromUnixTimestamp64Micro({before:Int64}, 'UTC') OR e.event_id < toUUID({before_id:String}))
    AND e.type IN ('llm.request.completed', 'llm.request.recovered') AND e.recorded_seq <= {as_of:UInt64}
    AND hasAny(e.datasets, {datasets:Array(String)})
ORDER BY e.time DESC, e.event_id DESC
LIMIT 1 BY e.time, e.event_id
LIMIT {limit:UInt64}
