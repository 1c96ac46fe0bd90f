-- what the files of charges of a class and day have to hold, by token class: rows, sums and an order-independent hash
-- Recorded after {after} and through {through}; later counts what is recorded after that.
SELECT
    'USD' AS currency, toString(c.class) AS token_class,
    countIf(c.recorded_seq <= {through:UInt64}) AS rows,
    sumIf(ifNull(c.quantity, 0), c.recorded_seq <= {through:UInt64}) AS quantity,
    toString(sumIf(ifNull(c.cost, toDecimal128(0, 12)), c.recorded_seq <= {through:UInt64})) AS cost,
    sumIf(xxHash64(concatWithSeparator('|', toString(c.event_id), toString(c.attempt), c.class, toString(c.restatement), toString(c.sign), toString(c.calls),
        ifNull(toString(c.quantity), ''), ifNull(toString(toInt128(c.cost * 1000000000000)), ''))), c.recorded_seq <= {through:UInt64}) AS hash,
    countIf(c.recorded_seq > {through:UInt64}) AS later,
    maxIf(c.recorded_seq, c.recorded_seq <= {through:UInt64}) AS last,
    arraySort(groupUniqArrayIf(lower(hex(c.governance)), c.recorded_seq <= {through:UInt64})) AS governance,
    arraySort(groupUniqArrayIf(toString(c.price_book), c.recorded_seq <= {through:UInt64})) AS price_books,
    arraySort(groupUniqArrayIf(c.derivation, c.recorded_seq <= {through:UInt64})) AS derivations
FROM charges AS c FINAL
WHERE c.retention_class = {class:String}
    AND c.charge_time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND c.charge_time < fromUnixTimestamp64Micro({to:Int64}, 'UTC')
    AND c.recorded_seq > {after:UInt64}
GROUP BY token_class
ORDER BY token_class
SETTINGS do_not_merge_across_partitions_select_final = 1
