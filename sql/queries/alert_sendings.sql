-- when the last sending to each channel began, of those since {after} (microseconds since 1970)
SELECT channel, toUnixTimestamp64Micro(max(changed_at)) AS began
FROM alerts FINAL
WHERE state = 'sending' AND changed_at >= fromUnixTimestamp64Micro({after:Int64}, 'UTC')
GROUP BY channel
