-- the governance snapshot that the last call of each day named, and of the last day before
SELECT day, digest
FROM
(
    SELECT toDate(time) AS day, argMax(governance, time) AS digest
    FROM events
    WHERE time >= toDateTime64({from:Date}, 6, 'UTC') AND time < toDateTime64({to:Date}, 6, 'UTC')
        AND recorded_seq <= {as_of:UInt64} AND governance != toFixedString('', 32)
    GROUP BY day
    UNION ALL
    SELECT toDate(time) AS day, governance AS digest
    FROM events
    WHERE time < toDateTime64({from:Date}, 6, 'UTC') AND recorded_seq <= {as_of:UInt64} AND governance != toFixedString('', 32)
    ORDER BY time DESC
    LIMIT 1
)
ORDER BY day
