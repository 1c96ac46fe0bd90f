-- The outbox: what people are told, and how the telling goes. Row 0 of an alert is the alert itself, each later row a change of
-- its state; the row with the highest number holds. Nothing is ever updated, so the rows are also the record of every attempt.
CREATE TABLE IF NOT EXISTS alerts
(
    -- follows from the subject: what is raised again is the same alert
    alert_id   String,
    number     UInt32,
    -- pending | sending | delivered | dead | covered (told by a graver alert of the same kind that was raised with it)
    state      LowCardinality(String),
    -- budget | finding
    kind       LowCardinality(String),
    subject    String,
    channel    LowCardinality(String),
    -- the message, JSON; only in row 0
    alert      String CODEC(ZSTD(1)),
    -- sendings begun
    attempt    UInt32,
    -- how the last sending ended
    outcome    LowCardinality(String),
    -- a sending may have arrived although no answer said so: the next one may repeat it
    unsure     Bool,
    -- pending: when the next sending is due; sending: until when its worker has it alone
    due_at     DateTime64(6, 'UTC'),
    worker     String,
    raised_at  DateTime64(6, 'UTC'),
    -- since when sendings are tried; later than raised_at when a dead alert was revived
    since      DateTime64(6, 'UTC'),
    changed_at DateTime64(6, 'UTC'),
    -- of two rows with the same number the first is the one
    version    UInt64 MATERIALIZED 18446744073709551615 - toUInt64(toUnixTimestamp64Micro(changed_at))
)
ENGINE = ReplacingMergeTree(version)
-- serves: the rows of one alert; all of them are few
ORDER BY (alert_id, number)
-- of two workers that write the same number, the first one's row enters and the other's is dropped by its token
SETTINGS non_replicated_deduplication_window = 10000
