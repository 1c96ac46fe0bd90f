-- batches as of a recorded_seq, each with the rows that are stored of it
WITH
    ranges AS
    (
        SELECT partition, first_offset, next_offset, events, duplicates, quarantined
        FROM batches FINAL
        WHERE topic = {topic:String} AND recorded_seq <= {through:UInt64}
    ),
    filled AS (SELECT partition, first_offset FROM ranges WHERE next_offset > first_offset),
    places AS
    (
        SELECT partition, offset, 0 AS replayed, 0 AS quarantined
        FROM events FINAL
        WHERE topic = {topic:String} AND recorded_seq <= {through:UInt64}
        UNION ALL
        SELECT partition, offset, replayed_seq > 0 AND replayed_seq <= {through:UInt64} AS replayed, 1 AS quarantined
        FROM quarantine FINAL
        WHERE topic = {topic:String} AND recorded_seq <= {through:UInt64}
            -- what a flush that did not come to its end has put here and a later one could read
            AND (replayed_seq > 0 OR (partition, offset) NOT IN (SELECT partition, offset FROM events WHERE topic = {topic:String} AND (partition, offset) IN (SELECT partition, offset FROM quarantine WHERE topic = {topic:String})))
    ),
    counts AS
    (
        SELECT filled.partition AS partition, filled.first_offset AS first_offset,
            countIf(places.quarantined = 0) AS has_events, countIf(places.replayed = 1) AS has_replayed, countIf(places.quarantined = 1) AS has_quarantined
        FROM places ASOF INNER JOIN filled ON places.partition = filled.partition AND places.offset >= filled.first_offset
        GROUP BY filled.partition, filled.first_offset
    )
SELECT ranges.partition, ranges.first_offset, ranges.next_offset, ranges.events, ranges.duplicates, ranges.quarantined,
    counts.has_events, counts.has_replayed, counts.has_quarantined
FROM ranges LEFT JOIN counts ON ranges.partition = counts.partition AND ranges.first_offset = counts.first_offset AND ranges.next_offset > ranges.first_offset
ORDER BY ranges.partition, ranges.first_offset, ranges.next_offset
SETTINGS do_not_merge_across_partitions_select_final = 1, join_use_nulls = 0
