-- The ledger as it was at recorded_seq {as_of}, entries charged in [{from}, {to}) (microseconds since 1970): what each entry
-- adds to a rollup. Rollups, showback from the ledger and the proof of the rollups all sum these columns, so they cannot
-- disagree on what a figure means.
CREATE VIEW IF NOT EXISTS ledger AS
SELECT
    c.charge_time AS charge_time,
    toStartOfFifteenMinutes(toDateTime(c.charge_time, 'UTC')) AS cell,
    toDate(c.charge_time, 'UTC') AS day,
    c.business_unit AS business_unit,
    c.team AS team,
    c.project AS project,
    c.user AS user,
    c.application AS application,
    c.use_case AS use_case,
    c.provider AS provider,
    c.model AS model,
    c.class AS class,
    c.cost_status AS cost_status,
    toInt64(c.calls) AS requests,
    toUInt64(1) AS entries,
    ifNull(c.quantity, 0) AS quantity,
    -- signed, so that a reversal takes its entry out of the count too
    if(isNull(c.quantity), toInt64(c.sign), 0) AS unmeasured,
    ifNull(c.cost, toDecimal128(0, 12)) AS cost,
    if(isNull(c.cost) AND isNotNull(c.quantity), toInt64(c.sign), 0) AS unpriced,
    cityHash64(c.entry_id, c.calls, isNull(c.quantity), ifNull(c.quantity, 0), isNull(c.rate), ifNull(c.rate, 0),
        isNull(c.cost), ifNull(c.cost, toDecimal128(0, 12)), c.price_id, c.cost_status) AS hash
FROM charges AS c FINAL
WHERE c.recorded_seq <= {as_of:UInt64}
    AND c.charge_time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC')
    AND c.charge_time < fromUnixTimestamp64Micro({to:Int64}, 'UTC')
SETTINGS do_not_merge_across_partitions_select_final = 1
