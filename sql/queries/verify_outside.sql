-- events as of a recorded_seq beyond the last batch of their partition, or before the first
SELECT events.partition AS partition, events.offset AS offset
FROM (SELECT partition, offset FROM events FINAL WHERE topic = {topic:String} AND recorded_seq <= {through:UInt64}) AS events
LEFT JOIN
(
    SELECT partition, min(first_offset) AS first, max(next_offset) AS next
    FROM batches FINAL
    WHERE topic = {topic:String} AND recorded_seq <= {through:UInt64}
    GROUP BY partition
) AS bounds ON events.partition = bounds.partition
WHERE events.offset < bounds.first OR events.offset >= bounds.next
ORDER BY partition, offset
LIMIT 21
SETTINGS do_not_merge_across_partitions_select_final = 1
