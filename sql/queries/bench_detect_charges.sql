-- one entry a day of each of so many projects, charged in [from, to), microseconds since 1970: a level of its own, less at the
-- weekend, a tenth up and down; one day in four thousand costs six times as much
INSERT INTO charges (entry_id, event_id, attempt, class, restatement, sign, charge_time, posting_period, retention_class, business_unit, team, project, user, application,
    use_case, provider, endpoint, region, model, tier, workload, usage_source, calls, quantity, rate, price_id, cost, cost_status, price_book, governance, derivation, recorded_seq)
SELECT
    sipHash128(project, day), reinterpretAsUUID(sipHash128(day, project)), 0, 'input', 0, 1, time, toYYYYMM(time), 'standard',
    concat('unit-', toString(project % 5)), concat('team-', toString(project % 100)), concat('project-', toString(project)), 'u_1', concat('app-', toString(project % 40)),
    concat('case-', toString(project % 200)), concat('provider-', toString(project % 3)), 'endpoint', 'eu', concat('model-', toString(project % 9)), '', 'interactive', 'provider',
    1, tokens, 10000000, 'price', toDecimal128(tokens * 10000000, 0) * toDecimal128('0.000000000001', 12), 'exact', '', toFixedString('', 32), 1, {recorded_seq:UInt64}
FROM
(
    SELECT
        project, day, fromUnixTimestamp64Micro({from:Int64} + day_of_month * 86400000000 + toInt64(project), 'UTC') AS time,
        -- ten dollars are a million
        toInt64((2000000 + cityHash64(project) % 18000000)
            * if(toDayOfWeek(time) > 5, 0.3, 1)
            * (0.9 + (cityHash64(project, day, 1) % 1000 + cityHash64(project, day, 2) % 1000) / 10000)
            * if(cityHash64(project, day, 3) % 4000 = 0, 6, 1)) AS tokens
    FROM
    (
        SELECT
            intDiv(number, {projects:UInt64}) AS day_of_month, number % {projects:UInt64} AS project,
            toInt64(intDiv({from:Int64}, 86400000000)) + toInt64(day_of_month) AS day
        FROM numbers({projects:UInt64} * toUInt64(intDiv({to:Int64} - {from:Int64}, 86400000000)))
    )
)
