-- The datasets that fed the call's prompt, as namespace|name, each once: what the event says, also what its map added. '*' says that
-- there may be others: the event had no room for all, or the call was recovered after a crash.
-- Events from before this column have none.
ALTER TABLE events ADD COLUMN IF NOT EXISTS datasets Array(LowCardinality(String)) CODEC(ZSTD(1)) AFTER governance
