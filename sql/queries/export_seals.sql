-- the seals, of one target or all, in order of target, day, class and revision
SELECT target, toString(retention_class) AS class, day, revision, through_seq, manifest, sealed_at
FROM exports FINAL
WHERE (empty({target:String}) OR target = {target:String})
    AND day >= toDate32({from:String}) AND day < toDate32({to:String})
    AND (empty({class:String}) OR retention_class = {class:String})
ORDER BY target, day, class, revision
