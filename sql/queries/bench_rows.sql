SELECT * FROM {table:Identifier} FORMAT JSONEachRow
