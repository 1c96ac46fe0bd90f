"""readers.py FOLDER SINCE: what duckdb, pyarrow and polars find in the charges of an export, as JSON.

Hive-style folders are read as such: class and day are columns. The types of requests are looked at, too.
"""
import datetime, decimal, json, sys

import duckdb
import polars
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

folder, since = sys.argv[1], datetime.datetime.fromisoformat(sys.argv[2])
charges, requests, spend = (f"{folder}/{table}/**/*.parquet" for table in ("charges", "requests", "daily_spend"))


def told(rows, cost, n, later, negative, debit):
    return dict(rows=rows, cost=f"{cost:.12f}", since=n, later=f"{later:.12f}", negative=negative, debit=f"{debit:.12f}")


def by_duckdb():
    c = duckdb.connect()
    c.execute("SET TimeZone = 'UTC'")
    read = f"read_parquet('{charges}', hive_partitioning = true)"
    one = lambda where, *args: c.execute(f"SELECT count(*), sum(cost) FROM {read} WHERE {where}", args).fetchone()
    classes, days = c.execute(f"SELECT count(DISTINCT class), count(DISTINCT day) FROM {read}").fetchone()
    assert (classes, days) == (1, 2), (classes, days)
    types = dict((row[0], row[1]) for row in c.execute(f"DESCRIBE SELECT * FROM read_parquet('{requests}')").fetchall())
    assert types["time"] == "TIMESTAMP WITH TIME ZONE" and types["cost"] == "DECIMAL(38,12)", types
    assert types["provenance"] == "MAP(VARCHAR, VARCHAR)" and types["source_datasets"] == "VARCHAR[]", types
    assert types["attempts"].startswith("STRUCT(endpoint VARCHAR") and types["attempts"].endswith("[]"), types
    # Of requests the last of each event_id counts: as many as there are calls in the charges.
    last = c.execute(f"""SELECT count(*), sum(cost) FROM (SELECT * FROM read_parquet('{requests}', filename = true)
        QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY filename DESC) = 1)""").fetchone()
    calls = c.execute(f"SELECT count(DISTINCT event_id) FROM {read}").fetchone()[0]
    assert last[0] == calls, (last, calls)
    daily = c.execute(f"SELECT sum(cost) FROM read_parquet('{spend}')").fetchone()[0]
    assert daily == one("true")[1], daily
    return told(*one("true"), *one("charge_time >= ?", since), *one("cost < 0"))


def by_pyarrow():
    d = ds.dataset(f"{folder}/charges", format="parquet", partitioning="hive")
    assert d.schema.field("charge_time").type == pa.timestamp("us", tz="UTC"), d.schema
    assert d.schema.field("cost").type == pa.decimal128(38, 12), d.schema
    wide = pa.decimal256(76, 12)

    def one(condition):
        t = d.to_table(columns=["cost"], filter=condition)
        return t.num_rows, pc.sum(t["cost"].cast(wide)).as_py()

    t = ds.dataset(f"{folder}/requests", format="parquet", partitioning="hive").schema.field("provenance").type
    assert t == pa.map_(pa.string(), pa.field("value", pa.string(), nullable=False)) or pa.types.is_map(t), t
    return told(*one(None), *one(pc.field("charge_time") >= pa.scalar(since, pa.timestamp("us", tz="UTC"))),
                *one(pc.field("cost") < pa.scalar(decimal.Decimal(0), pa.decimal128(38, 12))))


def by_polars():
    lazy = polars.scan_parquet(charges, hive_partitioning=True)
    assert lazy.collect_schema()["charge_time"] == polars.Datetime("us", "UTC"), lazy.collect_schema()
    one = lambda frame: frame.select(polars.len(), polars.col("cost").sum().alias("sum")).collect().row(0)
    return told(*one(lazy), *one(lazy.filter(polars.col("charge_time") >= since)), *one(lazy.filter(polars.col("cost") < decimal.Decimal(0))))


print(json.dumps({"duckdb": by_duckdb(), "pyarrow": by_pyarrow(), "polars": by_polars()}))
