-- clear what an earlier run may have left in cells_staging
TRUNCATE TABLE cells_staging
