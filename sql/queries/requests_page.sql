-- which calls may stand on a page of a list, newest first
-- Read without FINAL and from the end of the key, so that it costs what the page holds. A key is here when any of its rows fits; which
-- row counts is decided by requests_rows. Two rows of one key are here twice.
SELECT toUnixTimestamp64Micro(r.time) AS at, toString(r.event_id) AS id
FROM requests AS r
WHERE r.time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND r.time <= fromUnixTimestamp64Micro({before:Int64}, 'UTC')
    AND (r.time < fromUnixTimestamp64Micro({before:Int64}, 'UTC') OR r.event_id < toUUID({before_id:String}))
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
LIMIT {limit:UInt64}
