-- what each value of the dimensions cost on each day of [from, to), in pico-dollars
-- A day of a value beyond 64 bits (9.2 million dollars) is an error, not a wrong number.
SELECT dimension, value, groupArray(day) AS days, groupArray(cost) AS costs
FROM
(
    SELECT dim.1 AS dimension, dim.2 AS value, toUInt16(c.day) AS day, accurateCast(sum(c.cost) * toInt64(1000000000000), 'Int64') AS cost
    FROM
    (
        SELECT toDate(cell) AS day, business_unit, team, project, application, use_case, provider, model, sum(s.cost) AS cost
        FROM cells AS s
        WHERE s.cell >= toDateTime({from:Date}, 'UTC') AND s.cell < toDateTime({to:Date}, 'UTC')
        GROUP BY day, business_unit, team, project, application, use_case, provider, model
    ) AS c
    ARRAY JOIN
    [
        ('business_unit', toString(business_unit)), ('team', toString(team)), ('project', toString(project)),
        ('application', toString(application)), ('use_case', toString(use_case)), ('provider', toString(provider)), ('model', toString(model))
    ] AS dim
    WHERE dim.1 IN {dimensions:Array(String)}
    GROUP BY dimension, value, day
    HAVING cost != 0
)
GROUP BY dimension, value
