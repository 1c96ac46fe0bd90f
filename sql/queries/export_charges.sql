-- rows of charges for the files of a class and day
-- Recorded after {after} and through {through}. The token class has another name than in the ledger, since class names a folder.
SELECT
    toString(c.event_id) AS event_id,
    toInt32(c.attempt) AS attempt,
    c.class AS token_class,
    toInt64(c.restatement) AS restatement,
    toInt32(c.sign) AS sign,
    c.charge_time AS charge_time,
    toInt32(c.posting_period) AS posting_period,
    c.retention_class AS retention_class,
    c.business_unit AS business_unit,
    c.team AS team,
    c.project AS project,
    c.user AS user,
    c.application AS application,
    c.use_case AS use_case,
    c.provider AS provider,
    c.endpoint AS endpoint,
    c.region AS region,
    c.model AS model,
    c.tier AS tier,
    c.workload AS workload,
    c.usage_source AS usage_source,
    toInt32(c.calls) AS calls,
    c.quantity AS quantity,
    -- dollars per token
    CAST(c.rate AS Nullable(Decimal(26, 0))) * toDecimal128('0.000000000001', 12) AS rate,
    c.price_id AS price_id,
    toLowCardinality('USD') AS currency,
    c.cost AS cost,
    c.cost_status AS cost_status,
    c.price_book AS price_book,
    toLowCardinality(lower(hex(c.governance))) AS governance,
    toInt32(c.derivation) AS derivation,
    toInt64(c.recorded_seq) AS recorded_seq
FROM charges AS c FINAL
WHERE c.retention_class = {class:String}
    AND c.charge_time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND c.charge_time < fromUnixTimestamp64Micro({to:Int64}, 'UTC')
    AND c.recorded_seq > {after:UInt64} AND c.recorded_seq <= {through:UInt64}
ORDER BY c.charge_time, c.event_id, c.attempt, c.class, c.restatement, c.sign
SETTINGS do_not_merge_across_partitions_select_final = 1, output_format_arrow_low_cardinality_as_dictionary = 1, output_format_arrow_compression_method = 'none'
