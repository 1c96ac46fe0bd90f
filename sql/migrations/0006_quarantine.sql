-- What could not be decoded or derived, with the reason; replayable.
CREATE TABLE IF NOT EXISTS quarantine
(
    topic        LowCardinality(String),
    partition    UInt32,
    offset       UInt64,
    time         DateTime64(6, 'UTC'),
    reason       String,
    raw          String CODEC(ZSTD(3)),
    digest       FixedString(32),
    -- 0 until a replay put the event into the books
    replayed_seq UInt64,
    recorded_seq UInt64,
    version      UInt128 MATERIALIZED bitOr(bitShiftLeft(toUInt128(replayed_seq), 64), toUInt128(bitNot(recorded_seq)))
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (topic, partition, offset)
