-- The money ledger, append-only: one entry per event, attempt and token class.
-- A correction is a reversal (sign -1) and a re-entry under a restatement number.
CREATE TABLE IF NOT EXISTS charges
(
    -- SHA-256/128 of event, attempt, class, restatement and sign: the same entry has the same id wherever it is made again
    entry_id        FixedString(16) CODEC(NONE),
    event_id        UUID,
    attempt         UInt8,
    class           LowCardinality(String),
    restatement     UInt32,
    sign            Int8,
    charge_time     DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    posting_period  UInt32,
    retention_class LowCardinality(String),
    business_unit   LowCardinality(String),
    team            LowCardinality(String),
    project         LowCardinality(String),
    user            String CODEC(ZSTD(1)),
    application     LowCardinality(String),
    use_case        LowCardinality(String),
    provider        LowCardinality(String),
    endpoint        LowCardinality(String),
    region          LowCardinality(String),
    model           LowCardinality(String),
    tier            LowCardinality(String),
    workload        LowCardinality(String),
    usage_source    LowCardinality(String),
    -- calls counted by this entry, signed as the entry: 1 on the first entry of an event, else 0
    calls           Int8,
    -- signed as the entry: a reversal has the negative of what it reverses. NULL: the usage is missing
    quantity        Nullable(Int64) CODEC(ZSTD(1)),
    -- pico-dollars per token. NULL: unpriced
    rate            Nullable(Int64) CODEC(ZSTD(1)),
    price_id        LowCardinality(String),
    -- signed as the entry; NULL: unpriced or missing, which is not zero
    cost            Nullable(Decimal(38, 12)) CODEC(ZSTD(1)),
    cost_status     LowCardinality(String),
    price_book      LowCardinality(String),
    governance      FixedString(32) CODEC(ZSTD(1)),
    derivation      UInt16,
    recorded_seq    UInt64 CODEC(Delta, ZSTD(1)),
    version         UInt64 MATERIALIZED 18446744073709551615 - recorded_seq,
    INDEX by_recorded recorded_seq TYPE minmax GRANULARITY 4
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY (retention_class, toYYYYMM(charge_time))
-- serves: the entries of one request, and rollups of one day
ORDER BY (charge_time, event_id, attempt, class, restatement, sign)
-- retries of one insert are dropped by its token
SETTINGS non_replicated_deduplication_window = 1000
