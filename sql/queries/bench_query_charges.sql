-- make the ledger's entries of the chunk: nothing for the refused attempt, then input, what a cache gave, and output
INSERT INTO charges (entry_id, event_id, attempt, class, restatement, sign, charge_time, posting_period, retention_class,
    business_unit, team, project, user, application, use_case, provider, endpoint, region, model, tier, workload, usage_source,
    calls, quantity, rate, price_id, cost, cost_status, price_book, governance, derivation, recorded_seq)
WITH
    arrayJoin(arrayFilter(line -> line.2 != 'cache_read' OR line.3 != 0,
        arrayConcat(
            if(c.refused, [(toUInt8(0), 'none', toInt64(0), toNullable(toInt64(0)))], []),
            [(toUInt8(c.refused), 'input', c.input, c.input_rate), (toUInt8(c.refused), 'cache_read', c.cached, c.cached_rate),
                (toUInt8(c.refused), 'output', c.output, c.output_rate)]))) AS line,
    line.1 AS attempt, line.2 AS class, line.3 AS quantity, line.4 AS rate
SELECT
    substring(SHA256(concat(unhex(replaceAll(toString(c.event_id), '-', '')), char(attempt), unhex('0000000001'), class)), 1, 16),
    c.event_id, attempt, class, 0, 1, c.time, toYYYYMM(c.time), c.retention_class,
    c.business_unit, c.team, c.project, c.user, c.application, c.use_case, c.provider, concat('endpoint-', c.provider), 'us', c.model, 'standard',
    'interactive', if(class = 'none', 'missing', 'provider'),
    if(class = 'none' OR class = 'input' AND NOT c.refused, 1, 0), quantity, rate, if(class = 'none' OR isNull(rate), '', concat(c.provider, '/', c.model)),
    CAST(quantity * rate AS Nullable(Decimal(38, 0))) * toDecimal128('0.000000000001', 12),
    multiIf(class = 'none', 'free', isNull(rate), 'unpriced', 'exact'), 'bench', unhex(repeat('00', 32)), 1, c.recorded_seq
FROM bench_calls AS c
