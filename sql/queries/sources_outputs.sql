-- which calls any of the datasets may have fed, newest first
-- Read without FINAL and from the end of the key, narrow columns alone, so that it costs what the page holds. Duplicates of an event are
-- here more than once; which of them does not matter, since they have its bytes. Denied calls gave no answer.
SELECT toUnixTimestamp64Micro(e.time) AS at, UUIDStringToNum(toString(e.event_id)) AS id
FROM events AS e
WHERE e.time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND e.time <= fromUnixTimestamp64Micro({before:Int64}, 'UTC')
    AND (e.time < fromUnixTimestamp64Micro({before:Int64}, 'UTC') OR e.event_id < toUUID({before_id:String}))
    AND e.type IN ('llm.request.completed', 'llm.request.recovered') AND e.recorded_seq <= {as_of:UInt64}
    AND hasAny(e.datasets, {datasets:Array(String)})
ORDER BY e.time DESC, e.event_id DESC
LIMIT {limit:UInt64}
