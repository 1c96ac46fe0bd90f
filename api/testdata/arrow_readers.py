"""arrow_readers.py FILE: what pyarrow and polars read in an Arrow IPC stream, as JSON with every value as text."""

import datetime
import decimal
import json
import sys

import polars
import pyarrow
import pyarrow.ipc


def text(value):
    if isinstance(value, decimal.Decimal):
        return f"{value:.12f}"
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, datetime.date):
        return value.isoformat()
    assert isinstance(value, (str, int)), type(value)
    return str(value)


path = sys.argv[1]
decimal.getcontext().prec = 60
table = pyarrow.ipc.open_stream(path).read_all()
table.validate(full=True)
frame = polars.read_ipc_stream(path)
print(json.dumps({
    "pyarrow": {
        "types": [f"{f.name} {f.type}" for f in table.schema],
        "meta": {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()},
        "rows": [[text(v) for v in row.values()] for row in table.to_pylist()],
    },
    "polars": {
        "types": [f"{n} {t}" for n, t in frame.schema.items()],
        "meta": {},
        "rows": [[text(v) for v in row] for row in frame.iter_rows()],
    },
}))
