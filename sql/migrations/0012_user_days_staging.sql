-- Where a rollup makes the days of user_days anew, before it swaps them in.
CREATE TABLE IF NOT EXISTS user_days_staging AS user_days
