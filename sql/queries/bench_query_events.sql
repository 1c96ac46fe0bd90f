-- make events of the chunk
-- Their bytes are {once} and {twice}, an event with one attempt and one with two, where what is the call's own has a number in braces.
INSERT INTO events (event_id, type, subject, time, retention_class, writer, seq, governance, datasets, raw, digest, topic, partition, offset, recorded_seq)
WITH
    toUnixTimestamp64Micro(c.time) AS us,
    [toString(c.event_id), concat(formatDateTime(c.time, '%Y-%m-%dT%H:%i:%S', 'UTC'), '.', leftPad(toString(us % 1000000), 6, '0'), 'Z'),
        toString(c.number + 1), toString(us), toString(us + 900000), c.retention_class, c.business_unit, c.team, c.project, c.user,
        c.application, c.use_case, c.provider, c.model, toString(c.input + c.cached), toString(c.cached), toString(c.output)] AS own,
    if(c.refused,
        format({twice:String}, own[1], own[2], own[3], own[4], own[5], own[6], own[7], own[8], own[9], own[10], own[11], own[12], own[13], own[14], own[15], own[16], own[17]),
        format({once:String}, own[1], own[2], own[3], own[4], own[5], own[6], own[7], own[8], own[9], own[10], own[11], own[12], own[13], own[14], own[15], own[16], own[17])) AS bytes
SELECT
    c.event_id, 'llm.request.completed', toUUID('00000000-0000-0000-0000-000000000000'), c.time, c.retention_class, 'bench.0', c.number + 1,
    {governance:FixedString(32)}, arrayMap(s -> replaceOne(s, '@11@', own[12]), {sources:Array(String)}), bytes, SHA256(bytes), {topic:String}, 0, c.number, c.recorded_seq
FROM bench_calls AS c
