-- Numbered corrections of the ledger: a restatement of a period under another
-- snapshot, or a replay of quarantined events. While one is open the watermark
-- stays below its recorded_seq, so no reader sees half of it. At most one is open.
CREATE TABLE IF NOT EXISTS restatements
(
    restatement  UInt32,
    -- restate | replay
    kind         LowCardinality(String),
    from_time    DateTime64(6, 'UTC'),
    to_time      DateTime64(6, 'UTC'),
    governance   FixedString(32),
    reason       String,
    -- open | done
    state        LowCardinality(String),
    -- the watermark when it began: events recorded later are not in it
    through_seq  UInt64,
    entries      UInt64,
    days         Array(Date),
    -- of all its entries
    recorded_seq UInt64,
    changed_at   DateTime64(6, 'UTC'),
    -- of this row: counts up with every change
    version      UInt32
)
ENGINE = ReplacingMergeTree(version)
ORDER BY restatement
