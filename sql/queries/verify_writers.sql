-- the sequence of each writer as of a recorded_seq
SELECT writer, count() AS events, uniqExact(seq) AS distinct, min(seq) AS first, max(seq) AS last,
    countIf(type = 'writer.closed') AS closed, maxIf(seq, type = 'writer.closed') AS closed_at,
    anyIf(kind, kind != '') AS kind, max(time) AS last_seen, countIf(held) AS quarantined
FROM
(
    SELECT writer, seq, type, time, if(type = 'writer.opened', JSONExtractString(raw, 'data', 'kind'), '') AS kind, false AS held
    FROM events FINAL
    WHERE recorded_seq <= {through:UInt64}
    UNION ALL
    -- other bytes under the id of a stored event are no event of their own
    SELECT JSONExtractString(raw, 'writer'), toUInt64OrZero(JSONExtractString(raw, 'seq')), JSONExtractString(raw, 'type'), time, '', true
    FROM quarantine FINAL
    WHERE recorded_seq <= {through:UInt64} AND (replayed_seq = 0 OR replayed_seq > {through:UInt64}) AND isValidJSON(raw) AND toUInt64OrZero(JSONExtractString(raw, 'seq')) > 0
        AND toUUIDOrZero(JSONExtractString(raw, 'id')) NOT IN (SELECT event_id FROM events WHERE recorded_seq <= {through:UInt64} AND event_id IN (SELECT toUUIDOrZero(JSONExtractString(raw, 'id')) FROM quarantine))
)
GROUP BY writer
ORDER BY writer
SETTINGS do_not_merge_across_partitions_select_final = 1
