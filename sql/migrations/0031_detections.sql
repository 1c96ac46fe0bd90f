-- Runs of the detectors that finished: through which recorded_seq findings are complete.
CREATE TABLE IF NOT EXISTS detections
(
    through_seq UInt64,
    -- version of the detectors: a newer one looks at all days again
    detection   UInt16,
    finished_at DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(finished_at)
ORDER BY through_seq
