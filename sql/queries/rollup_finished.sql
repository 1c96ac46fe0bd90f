-- through which recorded_seq the rollups hold the ledger; no row before the first run
-- A run that finished never starts again.
SELECT through_seq
FROM rollups
WHERE state = 'finished'
ORDER BY through_seq DESC
LIMIT 1
