-- make the current view of the chunk
INSERT INTO requests (event_id, type, time, retention_class, format, operation, stream, workload, model_asked, body_bytes, body_digest, trace_id,
    key_id, business_unit, team, project, user, application, use_case, provenance, conflict, coverage, rule, why, governance,
    attempt_endpoint, attempt_provider, attempt_region, attempt_model_requested, attempt_model_served, attempt_status, attempt_error, attempt_start,
    attempt_first_byte_us, attempt_latency_us, attempt_provider_id, attempt_tier, attempt_usage_source, attempt_chunks, attempt_bytes,
    status, finish, served, latency_us, first_byte_us, client, upstream, answer_bytes, answer_digest,
    input_tokens, output_tokens, reasoning_tokens, cost, cost_status, derivation, restatement, recorded_seq)
WITH
    lower(hex(sipHash128(c.number, 'more'))) AS random,
    concat('endpoint-', c.provider) AS endpoint
SELECT
    c.event_id, 'llm.request.completed', c.time, c.retention_class, 'openai.chat', 'POST /v1/chat/completions', false, 'interactive', c.model,
    4 * toUInt64(c.input + c.cached), concat(random, random), random,
    concat('key-', c.team), c.business_unit, c.team, c.project, c.user, c.application, c.use_case,
    ['key', 'key', 'header', 'header', 'key', 'header'], [], 'none', concat('rule-', c.use_case), 'The first endpoint of the rule that may serve the use case.',
    unhex(repeat('00', 32)),
    if(c.refused, [endpoint, endpoint], [endpoint]), if(c.refused, [c.provider, c.provider], [c.provider]), if(c.refused, ['eu', 'us'], ['us']),
    if(c.refused, [c.model, c.model], [c.model]), if(c.refused, ['', c.model], [c.model]), if(c.refused, [429, 200], [200]), if(c.refused, ['http', ''], ['']),
    if(c.refused, [c.time, c.time], [c.time]), if(c.refused, [0, 0], [0]), if(c.refused, [0, 900000], [900000]),
    if(c.refused, ['', random], [random]), if(c.refused, ['', ''], ['']), if(c.refused, ['missing', 'provider'], ['provider']),
    if(c.refused, [1, 1], [1]), if(c.refused, [100, 1500], [1500]),
    200, 'stop', toInt8(c.refused), 900000, 300000, 'completed', 'completed', 4 * toUInt64(c.output), concat(random, random),
    toUInt64(c.input + c.cached), toUInt64(c.output), NULL,
    CAST(c.input * c.input_rate + c.cached * c.cached_rate + c.output * c.output_rate AS Nullable(Decimal(38, 0))) * toDecimal128('0.000000000001', 12),
    if(isNull(c.input_rate), 'unpriced', 'exact'), 1, 0, c.recorded_seq
FROM bench_calls AS c
