-- The staging table is as the table it is swapped into.
ALTER TABLE cells_staging ADD PROJECTION IF NOT EXISTS hours
(
    SELECT toStartOfHour(cell), business_unit, team, project, application, use_case, provider, model, class, cost_status,
        sum(requests), sum(quantity), sum(unmeasured), sum(unpriced), sum(cost)
    GROUP BY toStartOfHour(cell), business_unit, team, project, application, use_case, provider, model, class, cost_status
)
