-- requests, tokens and money of spans of days of users, by use case, model and class
SELECT
    s.span AS span, toString(c.use_case) AS use_case, toString(c.provider) AS provider, toString(c.model) AS model, toString(c.class) AS class,
    sum(c.requests) AS requests, sum(c.quantity) AS quantity, toString(sum(c.cost)) AS cost
FROM user_days AS c
INNER JOIN spans AS s ON c.user = s.value AND c.day = s.day
WHERE c.day >= {from:Date} AND c.day < {to:Date} AND {dimension:String} = 'user'
GROUP BY span, use_case, provider, model, class
ORDER BY span, use_case, provider, model, class
