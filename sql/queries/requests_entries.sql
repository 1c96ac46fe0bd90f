-- the ledger of one request, corrections included
SELECT
    c.attempt AS attempt, c.class AS class, c.restatement AS restatement, c.sign AS sign, c.provider AS provider, c.model AS model,
    c.region AS region, c.tier AS tier, c.quantity AS quantity, c.rate AS rate, c.price_id AS price_id,
    toDecimalString(c.cost, 12) AS cost_text, c.cost_status AS cost_status, c.price_book AS price_book, c.derivation AS derivation
FROM charges AS c FINAL
WHERE c.charge_time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND c.charge_time < fromUnixTimestamp64Micro({to:Int64}, 'UTC')
    AND c.event_id = toUUID({id:String}) AND c.recorded_seq <= {as_of:UInt64}
ORDER BY c.attempt, c.restatement, c.sign, c.class
SETTINGS do_not_merge_across_partitions_select_final = 1
