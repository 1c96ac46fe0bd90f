-- Hours of cells, a quarter of the rows, for showback of whole hours in zones whose clocks are whole hours apart.
-- A projection and no table of its own: the store makes it of the cells of each part, swaps it in with them and reads the cells where
-- a part has none. Cells are never replaced within a part, so its sums are theirs; verify books looks.
ALTER TABLE cells ADD PROJECTION IF NOT EXISTS hours
(
    SELECT toStartOfHour(cell), business_unit, team, project, application, use_case, provider, model, class, cost_status,
        sum(requests), sum(quantity), sum(unmeasured), sum(unpriced), sum(cost)
    GROUP BY toStartOfHour(cell), business_unit, team, project, application, use_case, provider, model, class, cost_status
)
