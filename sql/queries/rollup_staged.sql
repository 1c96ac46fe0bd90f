-- the days (UTC) that the staging tables hold, and how many cells of each
SELECT 'cells' AS target, toDate(cell) AS day, count() AS cells FROM cells_staging GROUP BY day
UNION ALL
SELECT 'user_days' AS target, day, count() AS cells FROM user_days_staging GROUP BY day
