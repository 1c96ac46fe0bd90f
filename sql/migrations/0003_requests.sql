-- The current view of each call: one row a request, attempts nested.
CREATE TABLE IF NOT EXISTS requests
(
    event_id         UUID,
    type             LowCardinality(String),
    time             DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    retention_class  LowCardinality(String),
    format           LowCardinality(String),
    operation        LowCardinality(String),
    stream           Bool,
    workload         LowCardinality(String),
    model_asked      LowCardinality(String),
    body_bytes       UInt64 CODEC(T64, ZSTD(1)),
    body_digest      String CODEC(ZSTD(1)),
    trace_id         String CODEC(ZSTD(1)),
    parent_id        String CODEC(ZSTD(1)),
    key_id           LowCardinality(String),
    client_addr      String CODEC(ZSTD(1)),
    business_unit    LowCardinality(String),
    team             LowCardinality(String),
    project          LowCardinality(String),
    user             String CODEC(ZSTD(1)),
    application      LowCardinality(String),
    use_case         LowCardinality(String),
    -- provenance of the six dimensions, in the order above
    provenance       Array(LowCardinality(String)),
    -- what the client claimed and the credential overruled, in the order above; empty when nothing was
    conflict         Array(String),
    source_datasets  Array(String),
    coverage         LowCardinality(String),
    rule             LowCardinality(String),
    why              String CODEC(ZSTD(1)),
    rejected         Array(String),
    governance       FixedString(32) CODEC(ZSTD(1)),
    git_commit       LowCardinality(String),
    attempt_endpoint        Array(LowCardinality(String)),
    attempt_provider        Array(LowCardinality(String)),
    attempt_region          Array(LowCardinality(String)),
    attempt_model_requested Array(LowCardinality(String)),
    attempt_model_served    Array(LowCardinality(String)),
    attempt_status          Array(UInt16),
    attempt_error           Array(LowCardinality(String)),
    attempt_start           Array(DateTime64(6, 'UTC')),
    -- microseconds from the attempt's start; 0 when no byte came
    attempt_first_byte_us   Array(UInt64),
    attempt_latency_us      Array(UInt64),
    attempt_provider_id     Array(String),
    attempt_tier            Array(LowCardinality(String)),
    attempt_usage_source    Array(LowCardinality(String)),
    attempt_chunks          Array(UInt32),
    attempt_bytes           Array(UInt64),
    status           UInt16,
    code             LowCardinality(String),
    finish           LowCardinality(String),
    served           Int8,
    latency_us       UInt64 CODEC(T64, ZSTD(1)),
    first_byte_us    UInt64 CODEC(T64, ZSTD(1)),
    client           LowCardinality(String),
    upstream         LowCardinality(String),
    answer_bytes     UInt64 CODEC(T64, ZSTD(1)),
    answer_digest    String CODEC(ZSTD(1)),
    -- of all attempts together; NULL: not told, which is not zero
    input_tokens     Nullable(UInt64) CODEC(ZSTD(1)),
    output_tokens    Nullable(UInt64) CODEC(ZSTD(1)),
    reasoning_tokens Nullable(UInt64) CODEC(ZSTD(1)),
    cost             Nullable(Decimal(38, 12)) CODEC(ZSTD(1)),
    cost_status      LowCardinality(String),
    derivation       UInt16,
    restatement      UInt32,
    recorded_seq     UInt64 CODEC(Delta, ZSTD(1)),
    -- the highest restatement wins, then the first seen
    version          UInt128 MATERIALIZED bitOr(bitShiftLeft(toUInt128(restatement), 64), toUInt128(bitNot(recorded_seq))),
    INDEX by_recorded recorded_seq TYPE minmax GRANULARITY 4
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY (retention_class, toYYYYMM(time))
-- serves: one request by its id, and lists of a period in order of time
ORDER BY (time, event_id)
-- retries of one insert are dropped by its token
SETTINGS non_replicated_deduplication_window = 1000
