-- the same of the calls that took more than one attempt, each as a whole under the model of its last attempt
-- They are few: only the keys of the others are read. An event counts as often as spans hold entries of it. The columns before FINAL
-- are all of the key, so a duplicate is never taken for what it repeats.
SELECT
    s.span AS span, e.served.1 AS served_provider, e.served.2 AS served_model,
    e.provider AS provider, e.model AS model, e.class AS class,
    sum(e.first_of_event) AS requests, sum(e.calls) AS calls, sum(e.quantity) AS quantity, toString(sum(e.cost)) AS cost
FROM
(
    SELECT
        *,
        multiIf({dimension:String} = 'business_unit', business_unit, {dimension:String} = 'team', team,
            {dimension:String} = 'project', project, {dimension:String} = 'application', application,
            {dimension:String} = 'use_case', use_case, {dimension:String} = 'provider', provider,
            {dimension:String} = 'user', user, model) AS value,
        toInt64(row_number() OVER (PARTITION BY event_id, value ORDER BY attempt DESC, provider, model, class) = 1) AS first_of_event
    FROM
    (
        SELECT
            *,
            max(attempt) OVER (PARTITION BY event_id) AS last,
            argMax((provider, model), attempt) OVER (PARTITION BY event_id) AS served
        FROM
        (
            SELECT
                event_id, attempt, toDate(charge_time, 'UTC') AS day,
                toString(c.business_unit) AS business_unit, toString(c.team) AS team, toString(c.project) AS project, c.user AS user,
                toString(c.application) AS application, toString(c.use_case) AS use_case, toString(c.provider) AS provider,
                toString(c.model) AS model, toString(c.class) AS class,
                toInt64(sum(c.calls)) AS calls, sum(ifNull(c.quantity, 0)) AS quantity, sum(ifNull(c.cost, toDecimal128(0, 12))) AS cost
            FROM charges AS c FINAL
            PREWHERE c.charge_time >= toDateTime64({from:Date}, 6, 'UTC') AND c.charge_time < toDateTime64({to:Date}, 6, 'UTC')
                AND c.event_id IN
                (
                    SELECT event_id
                    FROM charges
                    PREWHERE attempt > 0
                    WHERE charge_time >= toDateTime64({from:Date}, 6, 'UTC') AND charge_time < toDateTime64({to:Date}, 6, 'UTC')
                        AND toDate(charge_time, 'UTC') IN (SELECT day FROM spans)
                )
            WHERE c.recorded_seq <= {as_of:UInt64}
            GROUP BY event_id, attempt, day, business_unit, team, project, user, application, use_case, provider, model, class
            -- what a correction took back is not there any more
            HAVING sum(c.sign) > 0
        )
    )
    WHERE last > 0
) AS e
INNER JOIN spans AS s ON e.value = s.value AND e.day = s.day
GROUP BY span, served_provider, served_model, provider, model, class
ORDER BY span, served_provider, served_model, provider, model, class
SETTINGS do_not_merge_across_partitions_select_final = 1
