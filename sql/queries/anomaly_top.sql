-- the requests that cost most in spans of days of values of a dimension
SELECT span, toString(event_id) AS id, toString(cost) AS cost
FROM
(
    SELECT
        toDate(c.charge_time, 'UTC') AS day,
        multiIf({dimension:String} = 'business_unit', toString(c.business_unit), {dimension:String} = 'team', toString(c.team),
            {dimension:String} = 'project', toString(c.project), {dimension:String} = 'application', toString(c.application),
            {dimension:String} = 'use_case', toString(c.use_case), {dimension:String} = 'provider', toString(c.provider),
            {dimension:String} = 'user', c.user, toString(c.model)) AS value,
        c.event_id AS event_id, sum(ifNull(c.cost, toDecimal128(0, 12))) AS cost
    FROM charges AS c FINAL
    WHERE c.charge_time >= toDateTime64({from:Date}, 6, 'UTC') AND c.charge_time < toDateTime64({to:Date}, 6, 'UTC')
        AND c.recorded_seq <= {as_of:UInt64} AND (value, day) IN (SELECT value, day FROM spans)
    GROUP BY day, value, event_id
    HAVING cost > 0
) AS e
INNER JOIN spans AS s ON e.value = s.value AND e.day = s.day
ORDER BY span, e.cost DESC, e.event_id
LIMIT {limit:UInt64} BY span
SETTINGS do_not_merge_across_partitions_select_final = 1
