-- What is unusual or over its estimate, and why: one row per revision of a finding, append-only. Late entries and restatements
-- bring a further revision, or one that withdraws the finding; no row is ever changed.
CREATE TABLE IF NOT EXISTS findings
(
    -- anomaly | drift
    kind          LowCardinality(String),
    dimension     LowCardinality(String),
    -- empty: of the calls that have no value in the dimension
    value         String,
    -- the day of an anomaly; the first day of the month of a drift. With the three above it is the finding's identity
    day           Date,
    revision      UInt32,
    -- SHA-256/128 of kind, dimension, value and day
    finding_id    FixedString(16),
    -- open | withdrawn
    state         LowCardinality(String),
    -- the last day that is counted
    through       Date,
    -- the first day of the unbroken run of days found
    began         Date,
    cost          Decimal(38, 12),
    -- what it is compared with
    baseline      Decimal(38, 12),
    -- weekday | recent | estimate
    basis         LowCardinality(String),
    -- of an anomaly: the day whose cost is the baseline; of a drift: the first day of the month that the reason compares with. 1970: none
    reference     Date,
    -- times the usual deviation; 0 of a drift
    score         Float64,
    -- the reason: names and amounts, whose sum is cost - baseline
    part_name     Array(LowCardinality(String)),
    part_amount   Array(Decimal(38, 12)),
    -- who answers for it: the owner of the use case, or of the one that changed most
    owner         String,
    mover_name    Array(String),
    mover_amount  Array(Decimal(38, 12)),
    top_id        Array(UUID),
    top_cost      Array(Decimal(38, 12)),
    sentence      String,
    governance    FixedString(32),
    -- of the rollups that it was found in
    recorded_seq  UInt64
)
-- of two processes that write the same revision the one that saw more of the ledger counts
ENGINE = ReplacingMergeTree(recorded_seq)
-- serves: lists by day, and the revisions of one finding
ORDER BY (day, kind, dimension, value, revision)
