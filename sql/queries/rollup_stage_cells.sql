-- make cells of the entries charged in a period, as of a recorded_seq
INSERT INTO cells_staging (cell, business_unit, team, project, application, use_case, provider, model, class, cost_status, requests, entries, quantity, unmeasured, cost, unpriced, hash)
SELECT
    cell, business_unit, team, project, application, use_case, provider, model, class, cost_status,
    sum(requests), sum(entries), sum(quantity), sum(unmeasured), sum(cost), sum(unpriced), sum(hash)
FROM ledger(as_of = {as_of:UInt64}, from = {from:Int64}, to = {to:Int64})
GROUP BY cell, business_unit, team, project, application, use_case, provider, model, class, cost_status
