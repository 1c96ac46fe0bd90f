-- sealed revisions, the newest day first, as of an instant (microseconds since 1970)
SELECT target, toString(retention_class) AS class, day, revision, through_seq, manifest, sealed_at
FROM exports FINAL
WHERE day >= toDate32({from:String}) AND day < toDate32({to:String}) AND sealed_at <= fromUnixTimestamp64Micro({as_of:Int64}, 'UTC')
    AND (empty({class:Array(String)}) OR retention_class IN {class:Array(String)})
    AND (empty({target:Array(String)}) OR target IN {target:Array(String)})
ORDER BY day DESC, class, target, revision DESC
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
