-- the first gaps in the sequence of a writer as of a recorded_seq
SELECT before + 1 AS from, toUInt64(seq - 1) AS to
FROM
(
    SELECT seq, lagInFrame(seq, 1, toUInt64(0)) OVER (ORDER BY seq ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before
    FROM
    (
        SELECT seq FROM events FINAL WHERE writer = {writer:String} AND recorded_seq <= {through:UInt64}
        UNION DISTINCT
        SELECT toUInt64OrZero(JSONExtractString(raw, 'seq')) FROM quarantine FINAL
        WHERE recorded_seq <= {through:UInt64} AND isValidJSON(raw) AND JSONExtractString(raw, 'writer') = {writer:String}
    )
)
WHERE seq > before + 1
ORDER BY seq
LIMIT 5
SETTINGS do_not_merge_across_partitions_select_final = 1
