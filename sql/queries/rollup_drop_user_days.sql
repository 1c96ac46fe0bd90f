-- drop one day (yyyymmdd) of user_days, of which the ledger has no entry
ALTER TABLE user_days DROP PARTITION {day:UInt32}
