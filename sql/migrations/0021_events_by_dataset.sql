-- serves: which answers a dataset fed. One that is in every call rules nothing out, and then every granule holds rows of the answer.
ALTER TABLE events ADD INDEX IF NOT EXISTS by_dataset datasets TYPE bloom_filter GRANULARITY 4
