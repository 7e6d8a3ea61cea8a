"""Owns SQLite's side: one file in WAL mode, synchronous=FULL, the guide's indexes, in this process.

Refuses to know the other systems. Bound: one writer, which is SQLite's own; 256 MiB page cache.
"""

import itertools
import random
import shutil
import sqlite3
import time
from pathlib import Path

from shared import BenchError, percentile

CACHE_KIB = 256 * 1024
TRANSACTION_ROWS = 50_000
SINGLE_ROWS_HELD = 20_000
MODEL_COUNT = 20

SCHEMA = """
CREATE TABLE predictions (
    id INTEGER PRIMARY KEY,
    request_id BLOB,
    model_id INTEGER NOT NULL,
    user_id INTEGER,
    timestamp INTEGER NOT NULL,
    features TEXT,
    result REAL,
    confidence REAL
);
CREATE INDEX idx_predictions_timestamp ON predictions (timestamp);
CREATE INDEX idx_predictions_model_timestamp ON predictions (model_id, timestamp);
CREATE INDEX idx_predictions_user_timestamp ON predictions (user_id, timestamp);
CREATE INDEX idx_predictions_model_user_time ON predictions (model_id, user_id, timestamp DESC);
"""
INSERT = """INSERT INTO predictions
    (request_id, model_id, user_id, timestamp, features, result, confidence)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""
NEWEST = """SELECT request_id, model_id, user_id, timestamp, features, result, confidence
    FROM predictions WHERE model_id = ? ORDER BY timestamp DESC LIMIT 100"""
VIEW = """SELECT model_id, count(*), avg(confidence),
    count(*) FILTER (WHERE timestamp >= ?), max(timestamp) FROM predictions GROUP BY model_id"""
DAY_US = 86_400_000_000


class Sqlite:
    """SQLite through Python's module, which adds some microseconds to a call."""

    key, title = "sqlite", "SQLite WAL"

    def __init__(self, rows_source, work: Path):
        self.rows_source = rows_source
        self.directory = work / "sqlite"
        self.connection: sqlite3.Connection | None = None
        self.single_rows: itertools.cycle | None = None

    def start(self) -> None:
        """Makes an empty file, and the rows that single inserts take in turn."""
        self.clear()
        self.single_rows = itertools.cycle(list(self.read_rows(0, SINGLE_ROWS_HELD)))

    def clear(self) -> None:
        """Removes all rows."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.connection = sqlite3.connect(self.directory / "predictions.db", isolation_level=None)
        if self.one("PRAGMA journal_mode = WAL") != "wal":
            raise BenchError(f"{self.title}: the file system of {self.directory} refuses WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self.connection.executescript(SCHEMA)

    def read_rows(self, first: int, count: int):
        """The workload's rows as tuples."""
        source = self.rows_source(first, count, "sqlite")
        with source.stdout as lines:
            for line in lines:
                request, rest = line.decode().rstrip("\n").split("\t", 1)
                yield (bytes.fromhex(request), *rest.split("\t"))
        if source.wait():
            raise BenchError(f"the driver's rows for SQLite ended with {source.returncode}")

    def insert(self, _clients: int, seconds: float) -> dict:
        """One window of single inserts, each a transaction of its own. There is one writer."""
        times_us, connection = [], self.connection
        cpu_before, began = time.process_time(), time.perf_counter()
        while (at := time.perf_counter()) - began < seconds:
            request, model, user, _, *rest = next(self.single_rows)
            connection.execute(INSERT, (request, model, user, time.time_ns() // 1_000, *rest))
            times_us.append((time.perf_counter() - at) * 1e6)
        elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu_before
        rows = len(times_us)
        return {"rows": rows, "seconds": elapsed, "rows_per_s": rows / elapsed,
                "p50_us": percentile(times_us, 0.5), "p99_us": percentile(times_us, 0.99),
                "cpu_seconds": cpu, "cpu_us_per_row": cpu / rows * 1e6}

    def load(self, first: int, rows: int) -> dict:
        """One step of the load; making the rows into tuples is not counted."""
        seconds, source = 0.0, self.read_rows(first, rows)
        while chunk := list(itertools.islice(source, TRANSACTION_ROWS)):
            began = time.perf_counter()
            self.connection.execute("BEGIN")
            self.connection.executemany(INSERT, chunk)
            self.connection.execute("COMMIT")
            seconds += time.perf_counter() - began
        began = time.perf_counter()
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        seconds += time.perf_counter() - began
        return {"rows": first + rows, "seconds": seconds, "rows_per_s": rows / seconds,
                "disk_bytes": self.disk_bytes()}

    def disk_bytes(self) -> int:
        """Space that the file and its log occupy."""
        return sum(path.stat().st_blocks * 512 for path in self.directory.iterdir())

    def settle(self) -> None:
        """Gives the planner its statistics."""
        self.connection.execute("PRAGMA analysis_limit = 1000")
        self.connection.execute("ANALYZE")

    def newest(self, queries: int) -> dict:
        """The latency of the newest hundred of random models."""
        draw, times_us = random.Random(1), []
        for number in range(200 + queries):
            model, at = draw.randint(1, MODEL_COUNT), time.perf_counter()
            self.connection.execute(NEWEST, (model,)).fetchall()
            if number >= 200:
                times_us.append((time.perf_counter() - at) * 1e6)
        return {"queries": queries, "p50_us": percentile(times_us, 0.5),
                "p99_us": percentile(times_us, 0.99)}

    def newest_ids(self) -> list[list[str]]:
        """The request ids of the newest hundred of every model."""
        return [[row[0].hex() for row in self.connection.execute(NEWEST, (model,))]
                for model in range(1, MODEL_COUNT + 1)]

    def view(self, _reads: int) -> dict:
        """The time of the aggregation; SQLite has no materialised views."""
        began = time.perf_counter()
        found = self.connection.execute(VIEW, (time.time_ns() // 1_000 - DAY_US,)).fetchall()
        return {"rows": sum(row[1] for row in found),
                "seconds": time.perf_counter() - began}

    def one(self, statement: str):
        """The only value of a statement."""
        return self.connection.execute(statement).fetchone()[0]

    def version(self) -> str:
        """The version of the library."""
        return f"SQLite {sqlite3.sqlite_version}"

    def freeze(self) -> None:
        """Nothing of it runs between windows."""

    def resume(self) -> None:
        """See `freeze`."""

    def stop(self) -> None:
        """Closes the file."""
        if self.connection:
            self.connection.close()
            self.connection = None
