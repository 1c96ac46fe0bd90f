-- look for the database
SELECT toUInt8(count() > 0) FROM system.databases WHERE name = {name:String}
