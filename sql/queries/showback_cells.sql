-- showback from 15-minute cells
-- Charged in [from, to), microseconds since 1970, whole cells. Days, months and hours are those of the time zone tz.
-- period: the local month as yyyymm, the local day as days since 1970, or the start of the local hour in seconds since 1970.
SELECT
    multiIf({period:String} = 'month', toInt64(toYYYYMM(s.cell, {tz:String})),
        {period:String} = 'day', toInt64(toDate(s.cell, {tz:String})),
        {period:String} = 'hour', toInt64(toUnixTimestamp(s.cell)) - 60 * toMinute(s.cell, {tz:String}),
        0) AS period,
    if(has({by:Array(String)}, 'business_unit'), s.business_unit, '') AS business_unit,
    if(has({by:Array(String)}, 'team'), s.team, '') AS team,
    if(has({by:Array(String)}, 'project'), s.project, '') AS project,
    '' AS user,
    if(has({by:Array(String)}, 'application'), s.application, '') AS application,
    if(has({by:Array(String)}, 'use_case'), s.use_case, '') AS use_case,
    if(has({by:Array(String)}, 'provider'), s.provider, '') AS provider,
    if(has({by:Array(String)}, 'model'), s.model, '') AS model,
    if(has({by:Array(String)}, 'class'), s.class, '') AS class,
    if(has({by:Array(String)}, 'cost_status'), s.cost_status, '') AS cost_status,
    sum(s.requests) AS requests,
    sum(s.quantity) AS quantity,
    toInt64(sum(s.unmeasured)) AS unmeasured,
    toInt64(sum(s.unpriced)) AS unpriced,
    toString(sum(s.cost)) AS cost,
    -- of all rows, before the page is cut
    sum(sum(s.requests)) OVER () AS total_requests,
    sum(sum(s.quantity)) OVER () AS total_quantity,
    sum(toInt64(sum(s.unmeasured))) OVER () AS total_unmeasured,
    toString(sum(sum(s.cost)) OVER ()) AS total_cost,
    sum(toInt64(sum(s.unpriced))) OVER () AS total_unpriced
FROM cells AS s
-- compared as what they are: as DateTime64 each cell would be converted. A DateTime ends in 2106, and wraps
WHERE s.cell >= toDateTime(toUInt32(greatest(0, least(intDiv({from:Int64}, 1000000), 4294967295))), 'UTC')
    AND s.cell < toDateTime(toUInt32(greatest(0, least(intDiv({to:Int64}, 1000000), 4294967295))), 'UTC')
    AND (empty({business_unit:Array(String)}) OR s.business_unit IN {business_unit:Array(String)})
    AND (empty({team:Array(String)}) OR s.team IN {team:Array(String)})
    AND (empty({project:Array(String)}) OR s.project IN {project:Array(String)})
    AND (empty({application:Array(String)}) OR s.application IN {application:Array(String)})
    AND (empty({use_case:Array(String)}) OR s.use_case IN {use_case:Array(String)})
    AND (empty({provider:Array(String)}) OR s.provider IN {provider:Array(String)})
    AND (empty({model:Array(String)}) OR s.model IN {model:Array(String)})
    AND (empty({class:Array(String)}) OR s.class IN {class:Array(String)})
    AND (empty({cost_status:Array(String)}) OR s.cost_status IN {cost_status:Array(String)})
GROUP BY period, business_unit, team, project, user, application, use_case, provider, model, class, cost_status
HAVING requests != 0 OR quantity != 0 OR unmeasured != 0 OR sum(s.cost) != 0 OR unpriced != 0
ORDER BY period, business_unit, team, project, user, application, use_case, provider, model, class, cost_status
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
