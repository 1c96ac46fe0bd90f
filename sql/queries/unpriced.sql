-- tokens without a price, as of a recorded_seq, less what a restatement has priced since
-- Read is the ledger from the first to the last hour in which the rollups have ever had any. Rollups as of a later recorded_seq have
-- those of an earlier one too, since an entry that is taken back stays. The total is of all rows, before the page is cut.
WITH
    (
        SELECT (min(hour), max(hour))
        FROM
        (
            SELECT toStartOfHour(s.cell) AS hour
            FROM cells AS s
            WHERE toStartOfHour(s.cell) > fromUnixTimestamp64Micro({from:Int64}, 'UTC') - INTERVAL 1 HOUR
                AND toStartOfHour(s.cell) < fromUnixTimestamp64Micro({to:Int64}, 'UTC') AND s.cost_status = 'unpriced'
            GROUP BY hour
        )
    ) AS hours
SELECT
    u.provider AS provider, u.model AS model, u.class AS class, u.tier AS tier,
    toUInt64(sum(u.entries)) AS entries, toInt64(sum(u.quantity)) AS quantity,
    concat(formatDateTime(min(u.charge_time), '%Y-%m-%dT%H:%i:%S', 'UTC'), 'Z') AS first,
    concat(formatDateTime(max(u.charge_time), '%Y-%m-%dT%H:%i:%S', 'UTC'), 'Z') AS last,
    toUInt64(sum(sum(u.entries)) OVER ()) AS total_entries, toInt64(sum(sum(u.quantity)) OVER ()) AS total_quantity
FROM
(
    SELECT
        c.charge_time AS charge_time, c.provider AS provider, c.model AS model, c.class AS class, c.tier AS tier,
        sum(c.sign) AS entries, sum(ifNull(c.quantity, 0)) AS quantity
    FROM charges AS c FINAL
    WHERE c.charge_time >= greatest(fromUnixTimestamp64Micro({from:Int64}, 'UTC'), toDateTime64(hours.1, 6, 'UTC'))
        AND c.charge_time < least(fromUnixTimestamp64Micro({to:Int64}, 'UTC'), toDateTime64(hours.2, 6, 'UTC') + INTERVAL 1 HOUR)
        AND c.recorded_seq <= {as_of:UInt64} AND c.cost_status = 'unpriced'
    GROUP BY c.event_id, c.attempt, charge_time, provider, model, class, tier
    HAVING sum(c.sign) > 0
) AS u
GROUP BY provider, model, class, tier
ORDER BY provider, model, class, tier
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
SETTINGS do_not_merge_across_partitions_select_final = 1
