-- what each user cost on each day of [from, to), in pico-dollars
SELECT 'user' AS dimension, value, groupArray(day) AS days, groupArray(cost) AS costs
FROM
(
    SELECT s.user AS value, toUInt16(s.day) AS day, accurateCast(sum(s.cost) * toInt64(1000000000000), 'Int64') AS cost
    FROM user_days AS s
    WHERE s.day >= {from:Date} AND s.day < {to:Date} AND 'user' IN {dimensions:Array(String)}
    GROUP BY value, day
    HAVING cost != 0
)
GROUP BY value
