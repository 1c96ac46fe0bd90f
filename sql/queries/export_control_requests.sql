-- what the files of requests of a class and day have to hold: rows, sums and an order-independent hash
-- Recorded after {after} and through {through}; later counts what is recorded after that.
SELECT
    'USD' AS currency, '' AS token_class,
    countIf(r.recorded_seq <= {through:UInt64}) AS rows,
    toInt64(0) AS quantity,
    toString(sumIf(ifNull(r.cost, toDecimal128(0, 12)), r.recorded_seq <= {through:UInt64})) AS cost,
    sumIf(xxHash64(concatWithSeparator('|', toString(r.event_id), toString(r.restatement), r.cost_status,
        ifNull(toString(r.input_tokens), ''), ifNull(toString(r.output_tokens), ''), ifNull(toString(toInt128(r.cost * 1000000000000)), ''))),
        r.recorded_seq <= {through:UInt64}) AS hash,
    countIf(r.recorded_seq > {through:UInt64}) AS later,
    maxIf(r.recorded_seq, r.recorded_seq <= {through:UInt64}) AS last,
    arraySort(groupUniqArrayIf(lower(hex(r.governance)), r.recorded_seq <= {through:UInt64})) AS governance,
    emptyArrayString() AS price_books,
    arraySort(groupUniqArrayIf(r.derivation, r.recorded_seq <= {through:UInt64})) AS derivations
FROM requests AS r FINAL
WHERE r.retention_class = {class:String}
    AND r.time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND r.time < fromUnixTimestamp64Micro({to:Int64}, 'UTC')
    AND r.recorded_seq > {after:UInt64}
SETTINGS do_not_merge_across_partitions_select_final = 1
