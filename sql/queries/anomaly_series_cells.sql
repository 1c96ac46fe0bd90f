-- what each value of the dimensions cost on each day of [from, to), in pico-dollars
-- Dimension by dimension: each reads one column of names, as numbers. A day of a value beyond 64 bits (9.2 million dollars) is an
-- error, not a wrong number.
SELECT dimension, value, groupArray(day) AS days, groupArray(cost) AS costs
FROM
(
    SELECT 'business_unit' AS dimension, toString(s.business_unit) AS value, toUInt16(toDate(s.cell)) AS day, accurateCast(sum(s.cost) * toInt64(1000000000000), 'Int64') AS cost
    FROM cells AS s
    WHERE s.cell >= toDateTime({from:Date}, 'UTC') AND s.cell < toDateTime({to:Date}, 'UTC') AND 'business_unit' IN {dimensions:Array(String)}
    GROUP BY s.business_unit, day
    HAVING cost != 0
    UNION ALL
    SELECT 'team' AS dimension, toString(s.team) AS value, toUInt16(toDate(s.cell)) AS day, accurateCast(sum(s.cost) * toInt64(1000000000000), 'Int64') AS cost
    FROM cells AS s
    WHERE s.cell >= toDateTime({from:Date}, 'UTC') AND s.cell < toDateTime({to:Date}, 'UTC') AND 'team' IN {dimensions:Array(String)}
    GROUP BY s.team, day
    HAVING cost != 0
    UNION ALL
    SELECT 'project' AS dimension, toString(s.project) AS value, toUInt16(toDate(s.cell)) AS day, accurateCast(sum(s.cost) * toInt64(1000000000000), 'Int64') AS cost
    FROM cells AS s
    WHERE s.cell >= toDateTime({from:Date}, 'UTC') AND s.cell < toDateTime({to:Date}, 'UTC') AND 'project' IN {dimensions:Array(String)}
    GROUP BY s.project, day
    HAVING cost != 0
    UNION ALL
    SELECT 'application' AS dimension, toString(s.application) AS value, toUInt16(toDate(s.cell)) AS day, accurateCast(sum(s.cost) * toInt64(1000000000000), 'Int64') AS cost
    FROM cells AS s
    WHERE s.cell >= toDateTime({from:Date}, 'UTC') AND s.cell < toDateTime({to:Date}, 'UTC') AND 'application' IN {dimensions:Array(String)}
    GROUP BY s.application, day
    HAVING cost != 0
    UNION ALL
    SELECT 'use_case' AS dimension, toString(s.use_case) AS value, toUInt16(toDate(s.cell)) AS day, accurateCast(sum(s.cost) * toInt64(1000000000000), 'Int64') AS cost
    FROM cells AS s
    WHERE s.cell >= toDateTime({from:Date}, 'UTC') AND s.cell < toDateTime({to:Date}, 'UTC') AND 'use_case' IN {dimensions:Array(String)}
    GROUP BY s.use_case, day
    HAVING cost != 0
    UNION ALL
    SELECT 'provider' AS dimension, toString(s.provider) AS value, toUInt16(toDate(s.cell)) AS day, accurateCast(sum(s.cost) * toInt64(1000000000000), 'Int64') AS cost
    FROM cells AS s
    WHERE s.cell >= toDateTime({from:Date}, 'UTC') AND s.cell < toDateTime({to:Date}, 'UTC') AND 'provider' IN {dimensions:Array(String)}
    GROUP BY s.provider, day
    HAVING cost != 0
    UNION ALL
    SELECT 'model' AS dimension, toString(s.model) AS value, toUInt16(toDate(s.cell)) AS day, accurateCast(sum(s.cost) * toInt64(1000000000000), 'Int64') AS cost
    FROM cells AS s
    WHERE s.cell >= toDateTime({from:Date}, 'UTC') AND s.cell < toDateTime({to:Date}, 'UTC') AND 'model' IN {dimensions:Array(String)}
    GROUP BY s.model, day
    HAVING cost != 0
)
GROUP BY dimension, value
