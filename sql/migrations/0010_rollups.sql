-- Runs of the rollup: through which recorded_seq the cells hold the ledger.
-- A started run that has not finished tells a reader that days are being swapped.
CREATE TABLE IF NOT EXISTS rollups
(
    through_seq  UInt64,
    state        LowCardinality(String),
    days         Array(Date),
    changed_at   DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(changed_at)
ORDER BY through_seq
