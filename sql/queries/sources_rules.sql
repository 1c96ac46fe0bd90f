-- the governance snapshots that the calls of a period name
SELECT DISTINCT e.governance AS governance
FROM events AS e
WHERE e.time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND e.time < fromUnixTimestamp64Micro({to:Int64}, 'UTC')
    AND e.type IN ('llm.request.completed', 'llm.request.recovered') AND notEmpty(e.datasets) AND e.recorded_seq <= {as_of:UInt64}
