-- the schema as the server has it
SELECT name, formatQuery(replaceAll(create_table_query, concat(currentDatabase(), '.'), '')) AS definition
FROM system.tables
WHERE database = currentDatabase()
ORDER BY name
