"""Makes the Parquet files beside it, with the libraries whose files users bring.

    python -m venv venv && venv/bin/pip install pyarrow==26.0.1 pandas==3.1.1 duckdb==2.0.1
    venv/bin/python make.py

The tests read the files only; engine/exchange/src/tests/golden.rs has the same rows in Rust.
"""

import datetime
import os

import duckdb
import pandas
import pyarrow as pa
import pyarrow.parquet as pq

ROW_COUNT = 40
UTC = datetime.timezone.utc
START = datetime.datetime(2026, 11, 23, 14, 0, 0, tzinfo=UTC)
os.chdir(os.path.dirname(os.path.abspath(__file__)))


def time(row):
    """A whole number of milliseconds, so that every unit says it exactly."""
    return START + datetime.timedelta(seconds=row, milliseconds=row)


def rows():
    return [
        {
            "request_id": f"{row:032x}",
            "model_id": f"model-{row % 3}",
            "model_version": 1 + row % 2,
            "user_id": None if row % 4 == 0 else f"user {row % 5}",
            "timestamp": time(row),
            "class": row % 10,
            "confidence": row / 64,
            "features": [row + step / 8 for step in range(row % 6)],
        }
        for row in range(ROW_COUNT)
    ]


# Large and dictionary types, wide numbers, milliseconds without a zone; snappy, pages of version 1.
large = pa.schema([
    ("features", pa.large_list(pa.float64())),
    ("request_id", pa.large_string()),
    ("model_id", pa.dictionary(pa.int8(), pa.string())),
    ("model_version", pa.int64()),
    ("user_id", pa.dictionary(pa.int32(), pa.large_string())),
    ("timestamp", pa.timestamp("ms")),
    ("class", pa.float64()),
    ("confidence", pa.float64()),
])
plain = [dict(row, timestamp=row["timestamp"].replace(tzinfo=None)) for row in rows()]
pq.write_table(pa.Table.from_pylist(plain, large), "pyarrow_large.parquet", row_group_size=16)

# Views, small numbers, microseconds in another zone; no compression, pages of version 2, encodings
# other than dictionaries, and so many row groups that lists end at their borders.
views = pa.schema([
    ("request_id", pa.string_view()),
    ("model_id", pa.string_view()),
    ("model_version", pa.uint8()),
    ("user_id", pa.string_view()),
    ("timestamp", pa.timestamp("us", "America/Lima")),
    ("class", pa.int16()),
    ("confidence", pa.float32()),
    ("features", pa.list_(pa.float32())),
])
pq.write_table(
    pa.Table.from_pylist(rows(), views),
    "pyarrow_views.parquet",
    compression="none",
    row_group_size=7,
    data_page_version="2.0",
    use_dictionary=False,
    column_encoding={
        "request_id": "PLAIN",
        "class": "DELTA_BINARY_PACKED",
        "timestamp": "DELTA_BINARY_PACKED",
        "confidence": "BYTE_STREAM_SPLIT",
    },
    store_schema=False,
)

# As a notebook writes it: nanoseconds, and no ids of requests.
frame = pandas.DataFrame(rows()).drop(columns=["request_id"])
frame["timestamp"] = frame["timestamp"].astype("datetime64[ns, UTC]")
frame.to_parquet("pandas.parquet")

# As DuckDB writes the answer of a query.
frame = pandas.DataFrame(rows())
frame["features"] = [[float(value) for value in row["features"]] for row in rows()]
duckdb.sql(
    """COPY (SELECT request_id, model_id, model_version::UINTEGER AS model_version, user_id,
                    timestamp, "class"::UTINYINT AS "class", confidence::FLOAT AS confidence,
                    features::FLOAT[] AS features
             FROM frame)
       TO 'duckdb.parquet' (FORMAT parquet, COMPRESSION zstd)"""
)

# A data set: vectors of one length, whole numbers as labels.
dataset = pa.table({
    "label": pa.array([row % 10 for row in range(ROW_COUNT)], pa.int64()),
    "features": pa.array(
        [[row, row / 2] for row in range(ROW_COUNT)], pa.list_(pa.float32(), 2)
    ),
    "metadata": pa.array([f'{{"row": {row}}}' for row in range(ROW_COUNT)]),
})
pq.write_table(dataset, "pyarrow_dataset.parquet", compression="zstd")

# Values that would lose something, one a row, and good ones between.
refused = pa.table({
    "id": pa.array([1.0, 2.5, 3.0, -1.0, 5.0, 6.0], pa.float64()),
    "features": pa.array([[1.0], [1.0], [0.5, 0.1], [1.0], [1.0, None], None], pa.list_(pa.float64())),
    "label": pa.array(["a", "b", "c", "d", "e", "f"]),
})
pq.write_table(refused, "pyarrow_inexact.parquet", compression="snappy")
pq.write_table(refused, "pyarrow_gzip.parquet", compression="gzip")

# An encoding that is refused by name.
pq.write_table(
    dataset.select(["features", "metadata"]).slice(0, 4),
    "pyarrow_refused.parquet",
    use_dictionary=False,
    column_encoding={"metadata": "DELTA_LENGTH_BYTE_ARRAY"},
)
