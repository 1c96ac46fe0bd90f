-- whether a run past {as_of} has begun to swap a day of [{from}, {to}): then the rollups may say more than the ledger did
SELECT count() > 0 AS touched
FROM rollups
WHERE through_seq > {as_of:UInt64}
    AND arrayExists(d -> d >= toDate32({from:String}) AND d < toDate32({to:String}), days)
