-- of the days from {from} until {to} that were made to cost six times as much, and of those of projects that were found: how many are which
SELECT
    countIf(planted AND found) AS both,
    countIf(planted AND NOT found) AS missed,
    countIf(found AND NOT planted) AS other
FROM
(
    SELECT project, day, max(is_planted) AS planted, max(is_found) AS found
    FROM
    (
        SELECT toString(p.project) AS project, toUInt16(p.day) AS day, 1 AS is_planted, 0 AS is_found
        FROM (SELECT number % {projects:UInt64} AS project, toInt64(toDate({from:Date})) + toInt64(intDiv(number, {projects:UInt64})) AS day
            FROM numbers({projects:UInt64} * toUInt64(toDate({to:Date}) - toDate({from:Date})))) AS p
        WHERE cityHash64(p.project, p.day, 3) % 4000 = 0
        UNION ALL
        SELECT replaceOne(f.value, 'project-', '') AS project, toUInt16(f.day) AS day, 0 AS is_planted, 1 AS is_found
        FROM findings AS f FINAL
        WHERE f.dimension = 'project' AND f.day >= {from:Date} AND f.day < {to:Date}
    )
    GROUP BY project, day
)
