-- What this database has had: the other migrations by name and SHA-256.
CREATE TABLE IF NOT EXISTS migrations
(
    name       String,
    sha256     FixedString(32),
    applied_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
-- two that migrate at once record the same
ENGINE = ReplacingMergeTree
ORDER BY name
