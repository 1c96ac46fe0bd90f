-- alerts, the newest first, with how the telling goes; {states} empty: all of them, {id} empty: every one
SELECT s.alert_id AS alert_id, s.number AS number, s.state AS state, s.attempt AS attempt, s.outcome AS outcome, s.unsure AS unsure,
    toUnixTimestamp64Micro(s.due_at) AS due, toUnixTimestamp64Micro(s.changed_at) AS changed, a.alert AS alert
FROM
(
    SELECT * EXCEPT (alert)
    FROM alerts FINAL
    ORDER BY alert_id, number DESC
    LIMIT 1 BY alert_id
) AS s
INNER JOIN (SELECT alert_id, alert FROM alerts FINAL WHERE number = 0) AS a ON a.alert_id = s.alert_id
WHERE (empty({states:Array(String)}) OR s.state IN {states:Array(String)})
    AND ({id:String} = '' OR s.alert_id = {id:String})
ORDER BY s.raised_at DESC, s.alert_id
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
