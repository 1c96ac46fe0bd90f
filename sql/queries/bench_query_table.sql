-- where the calls of a chunk stand while they become events, requests and charges; in memory, in the benchmark's own database
CREATE TABLE IF NOT EXISTS bench_calls
(
    number          UInt64,
    event_id        UUID,
    time            DateTime64(6, 'UTC'),
    retention_class LowCardinality(String),
    business_unit   LowCardinality(String),
    team            LowCardinality(String),
    project         LowCardinality(String),
    user            String,
    application     LowCardinality(String),
    use_case        LowCardinality(String),
    provider        LowCardinality(String),
    model           LowCardinality(String),
    -- whether the first attempt was refused and the second served
    refused         Bool,
    -- tokens, disjoint
    input           Int64,
    cached          Int64,
    output          Int64,
    -- pico-dollars per token; NULL: no price
    input_rate      Nullable(Int64),
    cached_rate     Nullable(Int64),
    output_rate     Nullable(Int64),
    recorded_seq    UInt64
)
ENGINE = Memory
