-- entries of a period as of a recorded_seq, in order of time
SELECT
    entry_id, UUIDStringToNum(toString(event_id)) AS event, attempt, class, restatement, sign, toUnixTimestamp64Micro(charge_time) AS at, posting_period, retention_class,
    business_unit, team, project, user, application, use_case, provider, endpoint, region, model, tier, workload,
    usage_source, calls, quantity, rate, price_id, toInt64(cost * 1000000000000) AS pico, cost_status, price_book, governance, derivation, recorded_seq
FROM charges FINAL
WHERE charge_time >= {from:DateTime64(6, 'UTC')} AND charge_time < {to:DateTime64(6, 'UTC')} AND recorded_seq <= {through:UInt64}
ORDER BY charge_time, event_id, attempt, class, restatement, sign
SETTINGS do_not_merge_across_partitions_select_final = 1
