-- the last recorded_seq that was given out, for batches and for restatements
SELECT (SELECT max(recorded_seq) FROM batches) AS batches, (SELECT max(recorded_seq) FROM restatements) AS restatements
