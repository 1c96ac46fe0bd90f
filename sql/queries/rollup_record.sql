-- the word of a run of the rollup
INSERT INTO rollups (through_seq, state, days, changed_at)
SELECT {through:UInt64}, {state:String}, arrayMap(d -> toDate(d), {days:Array(String)}), fromUnixTimestamp64Micro({changed_at:Int64}, 'UTC')
