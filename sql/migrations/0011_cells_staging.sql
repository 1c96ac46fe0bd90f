-- Where a rollup makes the days of cells anew, before it swaps them in.
CREATE TABLE IF NOT EXISTS cells_staging AS cells
