-- make up the calls {first} to {last} (excluded) of {calls}, which are spread evenly over [{from}, {to}) (microseconds since 1970)
-- Each is a function of its number: 100 use cases, of which the first are the busiest, with three models and 20 users each, tokens
-- of the table told; every 50th call was refused once before it was served, every 200th has a model without a price.
INSERT INTO bench_calls
WITH
    sipHash128(number) AS hash,
    reinterpretAsUInt64(substring(hash, 1, 8)) AS a,
    reinterpretAsUInt64(substring(hash, 9, 8)) AS b,
    {from:Int64} + toInt64(intDiv(toUInt128(number) * toUInt64({to:Int64} - {from:Int64}), {calls:UInt64})) AS us,
    -- a UUIDv7: the millisecond, then random bits
    concat(leftPad(lower(hex(intDiv(us, 1000))), 12, '0'), '7', substring(lower(hex(hash)), 1, 3), '8', substring(lower(hex(hash)), 4, 15)) AS id,
    least(a % 100, intDiv(a, 100) % 100) AS one,
    if(number % 200 = 11, 9, 1 + (one + intDiv(b, 1000000) % 3) % 8) AS kind,
    (SELECT groupArray((input, output)) FROM told) AS tokens,
    tokens[1 + b % length(tokens)] AS pair,
    intDiv(pair.1 * (one % 5), 10) AS reused
SELECT
    number,
    toUUID(concat(substring(id, 1, 8), '-', substring(id, 9, 4), '-', substring(id, 13, 4), '-', substring(id, 17, 4), '-', substring(id, 21))),
    fromUnixTimestamp64Micro(us, 'UTC'),
    if(one % 10 = 0, 'long', 'standard'),
    concat('unit-', toString(intDiv(one, 20))), concat('team-', toString(intDiv(one, 4))), concat('project-', toString(intDiv(one, 2))),
    concat('u_', lower(hex(sipHash64(one, intDiv(a, 10000) % 20)))), concat('application-', toString(one)), concat('use-case-', toString(one)),
    concat('provider-', toString(kind % 4)), concat('model-', toString(kind)),
    number % 50 = 7,
    pair.1 - reused, reused, pair.2,
    if(kind = 9, NULL, 250000 * kind), if(kind = 9, NULL, 25000 * kind), if(kind = 9, NULL, 2000000 * kind),
    {recorded_seq:UInt64}
FROM numbers({first:UInt64}, {last:UInt64} - {first:UInt64})
