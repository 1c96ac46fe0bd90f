-- alerts that wait, and those that were given up, oldest first
SELECT alert_id, number, state, kind, subject, channel, attempt, outcome, unsure, worker,
    toUnixTimestamp64Micro(due_at) AS due, toUnixTimestamp64Micro(raised_at) AS raised, toUnixTimestamp64Micro(since) AS since_us
FROM
(
    SELECT * EXCEPT (alert)
    FROM alerts FINAL
    ORDER BY alert_id, number DESC
    LIMIT 1 BY alert_id
)
WHERE state IN ('pending', 'sending', 'dead')
ORDER BY raised_at, alert_id
