-- create the database
CREATE DATABASE IF NOT EXISTS {name:Identifier} ENGINE = Atomic
