-- requests, tokens and money of spans of days of values of a dimension, by use case, model and class
-- spans: value, day and number; a day of a value may be in several.
SELECT
    s.span AS span, c.use_case AS use_case, c.provider AS provider, c.model AS model, c.class AS class,
    sum(c.requests) AS requests, sum(c.quantity) AS quantity, toString(sum(c.cost)) AS cost
FROM
(
    SELECT
        toDate(cell) AS day,
        multiIf({dimension:String} = 'business_unit', toString(business_unit), {dimension:String} = 'team', toString(team),
            {dimension:String} = 'project', toString(project), {dimension:String} = 'application', toString(application),
            {dimension:String} = 'use_case', toString(use_case), {dimension:String} = 'provider', toString(provider),
            toString(model)) AS value,
        toString(x.use_case) AS use_case, toString(x.provider) AS provider, toString(x.model) AS model, toString(x.class) AS class,
        sum(x.requests) AS requests, sum(x.quantity) AS quantity, sum(x.cost) AS cost
    FROM cells AS x
    WHERE x.cell >= toDateTime({from:Date}, 'UTC') AND x.cell < toDateTime({to:Date}, 'UTC') AND (value, day) IN (SELECT value, day FROM spans)
    GROUP BY day, value, use_case, provider, model, class
) AS c
INNER JOIN spans AS s ON c.value = s.value AND c.day = s.day
GROUP BY span, use_case, provider, model, class
ORDER BY span, use_case, provider, model, class
