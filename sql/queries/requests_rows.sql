-- the calls of the table page as they stand, newest first: those that were recorded up to as_of and fit the filters
-- A restated row keeps the recorded_seq of its event, so a call stays listed; it says what is known now.
SELECT
    toUnixTimestamp64Micro(r.time) AS at, toString(r.event_id) AS id,
    concat(formatDateTime(r.time, '%Y-%m-%dT%H:%i:%S', 'UTC'), '.', leftPad(toString(toUnixTimestamp64Micro(r.time) % 1000000), 6, '0'), 'Z') AS time_text,
    r.type AS type, r.format AS format, r.operation AS operation, r.stream AS stream, r.model_asked AS model_asked,
    if(r.served >= 0, if(r.attempt_model_served[r.served + 1] != '', r.attempt_model_served[r.served + 1], r.attempt_model_requested[r.served + 1]), '') AS model,
    if(r.served >= 0, r.attempt_provider[r.served + 1], '') AS provider,
    if(r.served >= 0, r.attempt_endpoint[r.served + 1], '') AS endpoint,
    length(r.attempt_endpoint) AS attempts,
    r.key_id AS key_id, r.business_unit AS business_unit, r.team AS team, r.project AS project, r.user AS user,
    r.application AS application, r.use_case AS use_case, r.status AS status, r.code AS code, r.client AS client,
    r.latency_us AS latency_us, r.first_byte_us AS first_byte_us, r.input_tokens AS input_tokens, r.output_tokens AS output_tokens,
    toDecimalString(r.cost, 12) AS cost_text, r.cost_status AS cost_status, r.restatement AS restatement
FROM requests AS r FINAL
WHERE (r.time, r.event_id) IN (SELECT time, event_id FROM page)
    AND r.recorded_seq <= {as_of:UInt64}
    AND (empty({business_unit:Array(String)}) OR r.business_unit IN {business_unit:Array(String)})
    AND (empty({team:Array(String)}) OR r.team IN {team:Array(String)})
    AND (empty({project:Array(String)}) OR r.project IN {project:Array(String)})
    AND (empty({user:Array(String)}) OR r.user IN {user:Array(String)})
    AND (empty({application:Array(String)}) OR r.application IN {application:Array(String)})
    AND (empty({use_case:Array(String)}) OR r.use_case IN {use_case:Array(String)})
    AND (empty({format:Array(String)}) OR r.format IN {format:Array(String)})
    AND (empty({type:Array(String)}) OR r.type IN {type:Array(String)})
    AND (empty({cost_status:Array(String)}) OR r.cost_status IN {cost_status:Array(String)})
    AND (empty({provider:Array(String)}) OR hasAny(r.attempt_provider, {provider:Array(String)}))
    AND (empty({model:Array(String)}) OR hasAny(arrayMap((served, requested) -> if(served != '', served, requested), r.attempt_model_served, r.attempt_model_requested), {model:Array(String)}))
    AND (empty({key_id:Array(String)}) OR r.key_id IN {key_id:Array(String)})
    AND ({status:Int64} < 0 OR r.status = {status:Int64})
ORDER BY r.time DESC, r.event_id DESC
SETTINGS do_not_merge_across_partitions_select_final = 1
