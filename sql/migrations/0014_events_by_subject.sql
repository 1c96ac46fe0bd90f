-- serves: the adjusted events of one call, however much later they came. They are few: nearly every granule is ruled out.
-- Parts from before are read without it until they are merged.
ALTER TABLE events ADD INDEX IF NOT EXISTS by_subject subject TYPE bloom_filter GRANULARITY 4
