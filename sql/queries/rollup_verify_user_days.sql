-- compare the entries of a day as of a recorded_seq with user_days, row by row, both directions
SELECT
    count() AS checked,
    countIf(differs) AS different,
    groupArrayIf(5)(problem, differs) AS problems
FROM
(
    SELECT
        ledger_rows != 1 OR rollup_rows != 1
            OR ledger_requests != rollup_requests
            OR ledger_entries != rollup_entries
            OR ledger_quantity != rollup_quantity
            OR ledger_unmeasured != rollup_unmeasured
            OR ledger_cost != rollup_cost
            OR ledger_unpriced != rollup_unpriced
            OR ledger_hash != rollup_hash AS differs,
        concat(toString(day), ' business_unit=', business_unit, ' team=', team, ' user=', user, ' use_case=', use_case, ' provider=', provider, ' model=', model, ' class=', class, ' cost_status=', cost_status,
            ': ledger rows=', toString(ledger_rows), ' requests=', toString(ledger_requests), ' entries=', toString(ledger_entries), ' quantity=', toString(ledger_quantity), ' unmeasured=', toString(ledger_unmeasured), ' cost=', toString(ledger_cost), ' unpriced=', toString(ledger_unpriced), ' hash=', toString(ledger_hash),
            '; rollup rows=', toString(rollup_rows), ' requests=', toString(rollup_requests), ' entries=', toString(rollup_entries), ' quantity=', toString(rollup_quantity), ' unmeasured=', toString(rollup_unmeasured), ' cost=', toString(rollup_cost), ' unpriced=', toString(rollup_unpriced), ' hash=', toString(rollup_hash)) AS problem
    FROM
    (
        SELECT
            day, business_unit, team, user, use_case, provider, model, class, cost_status,
            sum(side = 'ledger') AS ledger_rows, sum(side = 'rollup') AS rollup_rows,
            sumIf(requests, side = 'ledger') AS ledger_requests, sumIf(requests, side = 'rollup') AS rollup_requests,
            sumIf(entries, side = 'ledger') AS ledger_entries, sumIf(entries, side = 'rollup') AS rollup_entries,
            sumIf(quantity, side = 'ledger') AS ledger_quantity, sumIf(quantity, side = 'rollup') AS rollup_quantity,
            sumIf(unmeasured, side = 'ledger') AS ledger_unmeasured, sumIf(unmeasured, side = 'rollup') AS rollup_unmeasured,
            sumIf(cost, side = 'ledger') AS ledger_cost, sumIf(cost, side = 'rollup') AS rollup_cost,
            sumIf(unpriced, side = 'ledger') AS ledger_unpriced, sumIf(unpriced, side = 'rollup') AS rollup_unpriced,
            sumIf(hash, side = 'ledger') AS ledger_hash, sumIf(hash, side = 'rollup') AS rollup_hash
        FROM
        (
            SELECT
                'ledger' AS side, day, business_unit, team, user, use_case, provider, model, class, cost_status,
                sum(l.requests) AS requests, sum(l.entries) AS entries, sum(l.quantity) AS quantity,
                toUInt64(sum(l.unmeasured)) AS unmeasured, sum(l.cost) AS cost, toUInt64(sum(l.unpriced)) AS unpriced, sum(l.hash) AS hash
            FROM ledger(as_of = {as_of:UInt64}, from = {from:Int64}, to = {to:Int64}) AS l
            GROUP BY day, business_unit, team, user, use_case, provider, model, class, cost_status
            UNION ALL
            SELECT
                'rollup' AS side, day, business_unit, team, user, use_case, provider, model, class, cost_status,
                requests, entries, quantity, unmeasured, cost, unpriced, hash
            FROM user_days
            WHERE day = toDate(fromUnixTimestamp64Micro({from:Int64}, 'UTC'), 'UTC')
        )
        GROUP BY day, business_unit, team, user, use_case, provider, model, class, cost_status
    )
)
