-- serves: which governance snapshots the calls of a period name, asked before the answers that a dataset fed
ALTER TABLE events ADD INDEX IF NOT EXISTS by_governance governance TYPE set(8) GRANULARITY 4
