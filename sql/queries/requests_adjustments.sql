-- what became known of a request after its event; within the day after it
-- Which events those are is looked for without FINAL, in two narrow columns: under FINAL the bytes of the whole day would be read.
SELECT e.raw AS raw
FROM events AS e FINAL
WHERE e.time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND e.time < fromUnixTimestamp64Micro({to:Int64} + 86400000000, 'UTC')
    AND (e.time, e.event_id) IN (
        SELECT s.time, s.event_id
        FROM events AS s
        WHERE s.time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND s.time < fromUnixTimestamp64Micro({to:Int64} + 86400000000, 'UTC')
            AND s.type = 'llm.request.adjusted' AND s.subject = toUUID({id:String}))
    AND e.recorded_seq <= {as_of:UInt64}
ORDER BY e.time, e.event_id
SETTINGS do_not_merge_across_partitions_select_final = 1
