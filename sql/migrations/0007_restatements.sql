-- Numbered corrections of the ledger. While one is open the watermark stays
-- below its recorded_seq, so no reader sees half of it.
CREATE TABLE IF NOT EXISTS restatements
(
    restatement  UInt32,
    from_time    DateTime64(6, 'UTC'),
    to_time      DateTime64(6, 'UTC'),
    governance   FixedString(32),
    reason       String,
    state        LowCardinality(String),
    entries      UInt64,
    days         Array(Date),
    recorded_seq UInt64,
    changed_at   DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(changed_at)
ORDER BY restatement
