-- the days (UTC) of the entries recorded in a range of recorded_seq
-- Read from the ledger itself: by_recorded keeps this to the granules that hold new entries. A duplicate that is not merged
-- away yet names its day too, which costs a recomputation and changes nothing.
SELECT DISTINCT toDate(charge_time, 'UTC') AS day
FROM charges
WHERE recorded_seq > {after:UInt64} AND recorded_seq <= {through:UInt64}
ORDER BY day
