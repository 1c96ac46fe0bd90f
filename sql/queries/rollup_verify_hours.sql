-- compare the hours of a day as the projection of cells has them with the cells, hour by hour, both directions
SELECT
    count() AS checked,
    countIf(differs) AS different,
    groupArrayIf(5)(problem, differs) AS problems
FROM
(
    SELECT
        cells_rows != 1 OR hours_rows != 1
            OR cells_requests != hours_requests
            OR cells_quantity != hours_quantity
            OR cells_unmeasured != hours_unmeasured
            OR cells_unpriced != hours_unpriced
            OR cells_cost != hours_cost AS differs,
        concat(toString(hour), ' business_unit=', business_unit, ' team=', team, ' project=', project, ' application=', application, ' use_case=', use_case, ' provider=', provider, ' model=', model, ' class=', class, ' cost_status=', cost_status,
            ': cells rows=', toString(cells_rows), ' requests=', toString(cells_requests), ' quantity=', toString(cells_quantity), ' unmeasured=', toString(cells_unmeasured), ' unpriced=', toString(cells_unpriced), ' cost=', toString(cells_cost),
            '; hours rows=', toString(hours_rows), ' requests=', toString(hours_requests), ' quantity=', toString(hours_quantity), ' unmeasured=', toString(hours_unmeasured), ' unpriced=', toString(hours_unpriced), ' cost=', toString(hours_cost)) AS problem
    FROM
    (
        SELECT
            hour, business_unit, team, project, application, use_case, provider, model, class, cost_status,
            sum(side = 'cells') AS cells_rows, sum(side = 'hours') AS hours_rows,
            sumIf(s.requests, side = 'cells') AS cells_requests, sumIf(s.requests, side = 'hours') AS hours_requests,
            sumIf(s.quantity, side = 'cells') AS cells_quantity, sumIf(s.quantity, side = 'hours') AS hours_quantity,
            sumIf(s.unmeasured, side = 'cells') AS cells_unmeasured, sumIf(s.unmeasured, side = 'hours') AS hours_unmeasured,
            sumIf(s.unpriced, side = 'cells') AS cells_unpriced, sumIf(s.unpriced, side = 'hours') AS hours_unpriced,
            sumIf(s.cost, side = 'cells') AS cells_cost, sumIf(s.cost, side = 'hours') AS hours_cost
        FROM
        (
            SELECT 'cells' AS side, toStartOfHour(c.cell) AS hour, business_unit, team, project, application, use_case, provider, model, class, cost_status,
                sum(c.requests) AS requests, sum(c.quantity) AS quantity, sum(c.unmeasured) AS unmeasured, sum(c.unpriced) AS unpriced, sum(c.cost) AS cost
            FROM cells AS c
            WHERE c.cell >= toDateTime(fromUnixTimestamp64Micro({from:Int64}, 'UTC'), 'UTC') AND c.cell < toDateTime(fromUnixTimestamp64Micro({to:Int64}, 'UTC'), 'UTC')
            GROUP BY hour, business_unit, team, project, application, use_case, provider, model, class, cost_status
            UNION ALL
            SELECT 'hours' AS side, toStartOfHour(c.cell) AS hour, business_unit, team, project, application, use_case, provider, model, class, cost_status,
                sum(c.requests) AS requests, sum(c.quantity) AS quantity, sum(c.unmeasured) AS unmeasured, sum(c.unpriced) AS unpriced, sum(c.cost) AS cost
            FROM cells AS c
            WHERE toStartOfHour(c.cell) >= toDateTime(fromUnixTimestamp64Micro({from:Int64}, 'UTC'), 'UTC') AND toStartOfHour(c.cell) < toDateTime(fromUnixTimestamp64Micro({to:Int64}, 'UTC'), 'UTC')
            GROUP BY hour, business_unit, team, project, application, use_case, provider, model, class, cost_status
        ) AS s
        GROUP BY hour, business_unit, team, project, application, use_case, provider, model, class, cost_status
    )
)
