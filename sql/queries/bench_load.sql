INSERT INTO {table:Identifier} FORMAT JSONEachRow
