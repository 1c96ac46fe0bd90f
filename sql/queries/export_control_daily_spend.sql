-- what the files of daily spend of a class and day have to hold, by token class: rows, sums and an order-independent hash
-- Of the entries recorded after {after} and through {through}.
SELECT
    'USD' AS currency, toString(d.class) AS token_class,
    count() AS rows,
    sum(d.quantity) AS quantity,
    toString(sum(d.cost)) AS cost,
    sum(xxHash64(concatWithSeparator('|', d.business_unit, d.team, d.project, d.application, d.use_case, d.provider, d.region, d.model, d.tier, d.class, d.cost_status,
        toString(d.requests), toString(d.entries), toString(d.quantity), toString(toInt128(d.cost * 1000000000000))))) AS hash,
    toUInt64(0) AS later,
    toUInt64(0) AS last,
    emptyArrayString() AS governance,
    emptyArrayString() AS price_books,
    emptyArrayUInt16() AS derivations
FROM
(
    SELECT
        c.business_unit AS business_unit, c.team AS team, c.project AS project, c.application AS application, c.use_case AS use_case,
        c.provider AS provider, c.region AS region, c.model AS model, c.tier AS tier, c.class AS class, c.cost_status AS cost_status,
        sum(toInt64(c.calls)) AS requests, count() AS entries, sum(ifNull(c.quantity, 0)) AS quantity,
        sum(ifNull(c.cost, toDecimal128(0, 12))) AS cost
    FROM charges AS c FINAL
    WHERE c.retention_class = {class:String}
        AND c.charge_time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND c.charge_time < fromUnixTimestamp64Micro({to:Int64}, 'UTC')
        AND c.recorded_seq > {after:UInt64} AND c.recorded_seq <= {through:UInt64}
    GROUP BY business_unit, team, project, application, use_case, provider, region, model, tier, class, cost_status
) AS d
GROUP BY token_class
ORDER BY token_class
SETTINGS do_not_merge_across_partitions_select_final = 1
