-- tokens without a price, as of a recorded_seq, less what a restatement has priced since
SELECT
    c.provider AS provider, c.model AS model, c.class AS class, c.tier AS tier,
    toUInt64(sum(c.sign)) AS entries, toInt64(ifNull(sum(c.quantity), 0)) AS quantity,
    concat(formatDateTime(min(c.charge_time), '%Y-%m-%dT%H:%i:%S', 'UTC'), 'Z') AS first,
    concat(formatDateTime(max(c.charge_time), '%Y-%m-%dT%H:%i:%S', 'UTC'), 'Z') AS last
FROM charges AS c FINAL
WHERE c.charge_time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND c.charge_time < fromUnixTimestamp64Micro({to:Int64}, 'UTC')
    AND c.recorded_seq <= {as_of:UInt64} AND c.cost_status = 'unpriced'
GROUP BY provider, model, class, tier
HAVING sum(c.sign) > 0
ORDER BY provider, model, class, tier
SETTINGS do_not_merge_across_partitions_select_final = 1
