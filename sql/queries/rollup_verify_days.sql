-- every day that the ledger or a rollup has anything of
SELECT DISTINCT day FROM
(
    SELECT DISTINCT toDate(charge_time, 'UTC') AS day FROM charges WHERE recorded_seq <= {as_of:UInt64}
    UNION ALL
    SELECT DISTINCT toDate(cell) AS day FROM cells
    UNION ALL
    SELECT DISTINCT day FROM user_days
)
ORDER BY day
