-- Rollup by user, daily only: users are many.
CREATE TABLE IF NOT EXISTS user_days
(
    day           Date,
    business_unit LowCardinality(String),
    team          LowCardinality(String),
    user          String CODEC(ZSTD(1)),
    use_case      LowCardinality(String),
    provider      LowCardinality(String),
    model         LowCardinality(String),
    class         LowCardinality(String),
    cost_status   LowCardinality(String),
    requests      Int64,
    entries       UInt64,
    quantity      Int64,
    unmeasured    UInt64,
    cost          Decimal(38, 12),
    unpriced      UInt64,
    hash          UInt64
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(day)
ORDER BY (day, team, user, use_case, provider, model, class, business_unit, cost_status)
