-- drop one day (yyyymmdd) of cells, of which the ledger has no entry
ALTER TABLE cells DROP PARTITION {day:UInt32}
