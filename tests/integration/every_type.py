"""Values of every type that PostgreSQL has, of such types as people make, and rows of all of them."""

from __future__ import annotations

from itertools import zip_longest

VALUES = {
    "smallint": ["-32768", "0"],
    "bigint": ["9223372036854775807", "-1"],
    "numeric": ["'NaN'", "'Infinity'", "12345678901234567890.000000000123", "1e-40", "-0.00"],
    "real": ["'NaN'", "0.1", "'-Infinity'", "1e-40"],
    "double precision": ["0.1", "1e308", "'-0'", "5e-324"],
    "boolean": ["true", "false"],
    "text": ["''", "'null'", "'NULL'", "'{a,\"b\"}'", r"'back\slash'", "E'new\nline\ttab'", "'q\" it''s'", "'ü🎈'"],
    "varchar(5)": ["'abcde'"],
    "char(3)": ["'a'"],
    "bit(4)": ["'1010'"],
    "bytea": [r"'\x00ff5c22'", "''"],
    "uuid": ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"],
    "date": ["'2024-02-29'", "'infinity'", "'0044-03-15 BC'"],
    "time": ["'23:59:59.999999'"],
    "timetz": ["'12:00:00+05:30'"],
    "timestamp": ["'2024-01-01 10:00:00.000001'", "'-infinity'", "'0044-03-15 BC'", "'294276-12-31 23:59:59'"],
    "timestamptz": ["'2024-01-01 10:00:00.1+11'", "'infinity'", "'0044-03-15 BC'"],
    "interval": ["'1 year -2 months 3 days 04:05:06.7'", "'-1 day'"],
    "json": ["'null'", "'{\"a\" :  1.10, \"a\":2, \"t\": \"x\\\"y\"}'", "'[1, [2]]'", "'\"text\"'"],
    "jsonb": ["'null'", "'\"null\"'", "'{\"n\": 1.000000000000000000001, \"s\": \"q\\u00fc\\n\"}'", "'[]'"],
    "int[]": ["'{1,NULL,3}'", "'{}'", "'{{1,2},{3,4}}'", "'[0:1]={7,8}'"],
    "text[]": ["'{a,\"b \\\"q\\\" \\\\ c\",NULL,\"NULL\",\"\",\"{x}\",\"[y]\"}'", "'{a,b c}'"],
    "numeric[]": ["'{1.50,NaN}'"],
    "bytea[]": [r"ARRAY['\x0001'::bytea, '\x5c']"],
    "jsonb[]": ["ARRAY['{\"a\": [1]}'::jsonb, 'null']"],
    "timestamptz[]": ["'{\"2024-01-01 00:00:00+00\"}'"],
    "inet": ["'192.168.0.0/24'"],
    "int4range": ["'[1,5)'", "'empty'"],
    "point": ["'(1.5,2)'"],
    "mood": ["'so so'"],
    "pair": ["'(1,\"a,\"\"b\")'"],
    "short": ["'abc'"],
    "tsvector": ["'''a b'' c:1'"],
}  # fmt: skip
TYPES = """
CREATE TYPE mood AS ENUM ('so so', 'fine');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN short AS text CHECK (length(VALUE) < 5);
"""
COLUMNS = {f"c{at}": type_ for at, type_ in enumerate(VALUES)}
DDL = ", ".join(f"{name} {type_}" for name, type_ in COLUMNS.items())
ROWS = [
    ", ".join(f"CAST({value} AS {type_})" for type_, value in zip(VALUES, row, strict=True))
    for row in (*zip_longest(*VALUES.values(), fillvalue="NULL"), ["NULL"] * len(VALUES))
]
"""What is selected for each row; the last one is all NULL."""
