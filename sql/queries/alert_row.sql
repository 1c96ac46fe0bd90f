-- one row of an alert: whose it is, and the message of row 0
SELECT worker, alert
FROM alerts FINAL
WHERE alert_id = {alert_id:String} AND number = {number:UInt32}
