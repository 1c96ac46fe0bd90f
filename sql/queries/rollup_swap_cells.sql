-- swap in one day (yyyymmdd) of cells, in one step
ALTER TABLE cells REPLACE PARTITION {day:UInt32} FROM cells_staging
