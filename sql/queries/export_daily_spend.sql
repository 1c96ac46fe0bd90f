-- rows of daily spend for the files of a class and day
-- Of the entries recorded after {after} and through {through}: what a correction holds is to be added to what was said before.
SELECT
    toDate32(c.charge_time, 'UTC') AS date,
    c.retention_class AS retention_class,
    c.business_unit AS business_unit,
    c.team AS team,
    c.project AS project,
    c.application AS application,
    c.use_case AS use_case,
    c.provider AS provider,
    c.region AS region,
    c.model AS model,
    c.tier AS tier,
    c.class AS token_class,
    c.cost_status AS cost_status,
    toInt64(sum(c.calls)) AS requests,
    toInt64(count()) AS entries,
    sum(ifNull(c.quantity, 0)) AS quantity,
    toInt64(sumIf(c.sign, isNull(c.quantity))) AS unmeasured,
    toInt64(sumIf(c.sign, isNull(c.cost) AND isNotNull(c.quantity))) AS unpriced,
    toLowCardinality('USD') AS currency,
    sum(ifNull(c.cost, toDecimal128(0, 12))) AS cost
FROM charges AS c FINAL
WHERE c.retention_class = {class:String}
    AND c.charge_time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND c.charge_time < fromUnixTimestamp64Micro({to:Int64}, 'UTC')
    AND c.recorded_seq > {after:UInt64} AND c.recorded_seq <= {through:UInt64}
GROUP BY date, c.retention_class, c.business_unit, c.team, c.project, c.application, c.use_case, c.provider, c.region, c.model, c.tier, c.class, c.cost_status
ORDER BY c.business_unit, c.team, c.project, c.application, c.use_case, c.provider, c.region, c.model, c.tier, c.class, c.cost_status
SETTINGS do_not_merge_across_partitions_select_final = 1, output_format_arrow_low_cardinality_as_dictionary = 1, output_format_arrow_compression_method = 'none'
