-- a governance snapshot that events of a period name and that is not in the table known
-- The index rules out every granule that holds known ones alone, so that asking until there is none costs little.
SELECT e.governance AS governance
FROM events AS e
WHERE e.time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND e.time < fromUnixTimestamp64Micro({to:Int64}, 'UTC')
    AND e.recorded_seq <= {as_of:UInt64} AND e.governance NOT IN (SELECT governance FROM known)
LIMIT 1
