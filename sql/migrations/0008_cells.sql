-- Rollup: 15-minute cells, made again for the days that changed from the
-- deduplicated ledger and swapped in a day at a time.
CREATE TABLE IF NOT EXISTS cells
(
    cell          DateTime('UTC') CODEC(Delta, ZSTD(1)),
    business_unit LowCardinality(String),
    team          LowCardinality(String),
    project       LowCardinality(String),
    application   LowCardinality(String),
    use_case      LowCardinality(String),
    provider      LowCardinality(String),
    model         LowCardinality(String),
    class         LowCardinality(String),
    cost_status   LowCardinality(String),
    -- sum of the entries' calls
    requests      Int64,
    entries       UInt64,
    quantity      Int64,
    -- entries whose quantity is not known
    unmeasured    UInt64,
    cost          Decimal(38, 12),
    -- entries that have no price
    unpriced      UInt64,
    -- order-independent: sum modulo 2^64 of the entries' hashes
    hash          UInt64
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(cell)
-- serves: showback by team and model over a period
ORDER BY (cell, team, use_case, provider, model, class, business_unit, project, application, cost_status)
