-- days of a period that have events or entries
SELECT DISTINCT day FROM
(
    SELECT DISTINCT toDate(time) AS day FROM events WHERE time >= {from:DateTime64(6, 'UTC')} AND time < {to:DateTime64(6, 'UTC')}
    UNION DISTINCT
    SELECT DISTINCT toDate(charge_time) AS day FROM charges WHERE charge_time >= {from:DateTime64(6, 'UTC')} AND charge_time < {to:DateTime64(6, 'UTC')}
)
ORDER BY day
