-- swap in one day (yyyymmdd) of user_days, in one step
ALTER TABLE user_days REPLACE PARTITION {day:UInt32} FROM user_days_staging
