-- the days (UTC) that the staging tables hold
SELECT 'cells' AS target, toDate(cell) AS day FROM cells_staging GROUP BY day
UNION ALL
SELECT 'user_days' AS target, day FROM user_days_staging GROUP BY day
