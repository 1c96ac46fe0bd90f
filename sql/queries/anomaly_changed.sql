-- the days that runs of the rollup after one recorded_seq and through another made again
SELECT DISTINCT arrayJoin(days) AS day
FROM rollups
WHERE through_seq > {after:UInt64} AND through_seq <= {through:UInt64}
ORDER BY day
