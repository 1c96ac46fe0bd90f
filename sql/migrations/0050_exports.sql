-- Sealed days: what was exported, where, and through which recorded_seq the files hold the day. Append-only: what arrives later
-- for a sealed day is another revision. The manifest is kept here word for word, so that a changed one shows.
CREATE TABLE IF NOT EXISTS exports
(
    -- folder or bucket, as manifests' paths are relative to it
    target          String,
    retention_class LowCardinality(String),
    day             Date,
    -- 0 is the day as it was sealed, each later one a correction
    revision        UInt32,
    through_seq     UInt64,
    manifest        String CODEC(ZSTD(3)),
    sealed_at       DateTime64(6, 'UTC'),
    version         UInt64 MATERIALIZED 18446744073709551615 - toUnixTimestamp64Micro(sealed_at)
)
-- of two that seal the same revision the first one holds
ENGINE = ReplacingMergeTree(version)
ORDER BY (target, day, retention_class, revision)
SETTINGS non_replicated_deduplication_window = 1000
