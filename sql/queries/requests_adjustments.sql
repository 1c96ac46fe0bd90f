-- what became known of a request after its event, however much later
-- Which events those are is looked for without FINAL, by the index of subjects. They are a day earlier than their call at most.
SELECT e.raw AS raw
FROM events AS e FINAL
WHERE (e.time, e.event_id) IN (
        SELECT s.time, s.event_id
        FROM events AS s
        WHERE s.time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') - INTERVAL 1 DAY
            AND s.type = 'llm.request.adjusted' AND s.subject = toUUID({id:String}))
    AND e.recorded_seq <= {as_of:UInt64}
ORDER BY e.time, e.event_id
SETTINGS do_not_merge_across_partitions_select_final = 1
