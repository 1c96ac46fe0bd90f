-- clear what an earlier run may have left in user_days_staging
TRUNCATE TABLE user_days_staging
