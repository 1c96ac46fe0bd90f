-- days (UTC) and retention classes that have requests or charges, as of a recorded_seq
-- Deliveries once more are counted too, so last can only be too high: a day that looks changed is looked at.
SELECT retention_class AS class, day, toUInt64(sum(requests)) AS requests, toUInt64(sum(entries)) AS entries, max(last) AS last
FROM
(
    SELECT toString(retention_class) AS retention_class, toDate(time, 'UTC') AS day, count() AS requests, 0 AS entries, max(recorded_seq) AS last
    FROM requests
    WHERE recorded_seq <= {through:UInt64} AND time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({to:Int64}, 'UTC')
        AND (empty({class:String}) OR retention_class = {class:String})
    GROUP BY retention_class, day
    UNION ALL
    SELECT toString(retention_class) AS retention_class, toDate(charge_time, 'UTC') AS day, 0 AS requests, count() AS entries, max(recorded_seq) AS last
    FROM charges
    WHERE recorded_seq <= {through:UInt64} AND charge_time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND charge_time < fromUnixTimestamp64Micro({to:Int64}, 'UTC')
        AND (empty({class:String}) OR retention_class = {class:String})
    GROUP BY retention_class, day
)
GROUP BY class, day
ORDER BY day, class
