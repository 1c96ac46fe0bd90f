-- which of some alerts there are
SELECT DISTINCT alert_id
FROM alerts
WHERE alert_id IN {ids:Array(String)} AND number = 0
