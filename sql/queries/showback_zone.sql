-- whether the store knows a time zone by that name
SELECT count() > 0 AS known
FROM system.time_zones
WHERE time_zone = {tz:String}
