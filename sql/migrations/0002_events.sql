-- The facts: exact bytes as they came from the topic, never updated.
CREATE TABLE IF NOT EXISTS events
(
    event_id        UUID,
    type            LowCardinality(String),
    subject         UUID,
    time            DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    retention_class LowCardinality(String),
    writer          LowCardinality(String),
    seq             UInt64 CODEC(T64, ZSTD(1)),
    governance      FixedString(32) CODEC(ZSTD(1)),
    raw             String CODEC(ZSTD(1)),
    digest          FixedString(32) CODEC(NONE),
    topic           LowCardinality(String),
    partition       UInt32,
    offset          UInt64 CODEC(Delta, ZSTD(1)),
    recorded_seq    UInt64 CODEC(Delta, ZSTD(1)),
    version         UInt64 MATERIALIZED 18446744073709551615 - recorded_seq,
    INDEX by_recorded recorded_seq TYPE minmax GRANULARITY 4
)
-- the version prefers the first record seen: a duplicate never changes what an earlier as_of said
ENGINE = ReplacingMergeTree(version)
-- both immutable facts of the event, so that a key never crosses partitions
PARTITION BY (retention_class, toYYYYMM(time))
-- serves: one event by its id (a UUIDv7 tells its millisecond), and scans of a period in order of time
ORDER BY (time, event_id)
-- retries of one insert are dropped by its token
SETTINGS non_replicated_deduplication_window = 1000
