-- Governance snapshots by digest: what every derived row names as its rules.
CREATE TABLE IF NOT EXISTS snapshots
(
    digest      FixedString(32),
    archive     String CODEC(ZSTD(3)),
    price_book  String,
    git_commit  String,
    recorded_at DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree
-- serves: the snapshot that an event names
ORDER BY digest
