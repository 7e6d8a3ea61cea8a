"""Owns PostgreSQL's side: a cluster with the guide's settings, loaded by COPY, asked by pgbench.

Refuses to know the other systems. There are two: `plain` has the guide's B-tree indexes, `gin` its
GIN index on features as well, each in a cluster of its own so that no background work of one falls
into the other's turn. Bound: every start has a limit in seconds; pgbench has two threads.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from shared import (HERE, BenchError, Server, all_cores, checked, cpu_seconds, percentile,
                    process_tree, render, run_counted)

START_LIMIT_SECONDS = 60.0
PGBENCH_THREADS = 2
MODEL_COUNT = 20
AS_POSTGRES = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups"]
COPY = "COPY predictions (request_id, model_id, user_id, timestamp, features, result, confidence)"
GIN_INDEX = "CREATE INDEX idx_predictions_features_gin ON predictions USING gin (features)"
REFRESH = "REFRESH MATERIALIZED VIEW CONCURRENTLY mv_model_performance"
SENT_DIGITS = 16
"""Single inserts send the features of so many digits in turn; pgbench needs a script for each."""


class Cluster:
    """One server with one database of ours."""

    def __init__(self, name: str, work: Path):
        self.name, self.work, self.directory = name, work, work / f"pg_{name}"
        self.server: Server | None = None
        self.bin = max(Path("/usr/lib/postgresql").glob("*/bin"),
                       key=lambda path: int(path.parent.name))

    def start(self) -> None:
        """Makes an empty cluster with the guide's settings and starts it."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        shutil.chown(self.directory, "postgres", "postgres")
        checked([*AS_POSTGRES, self.bin / "initdb", "-D", self.directory, "-U", "postgres",
                 "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"])
        memory_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
        render("guide_postgresql.conf.template", self.directory / "guide.conf", {
            "socket_dir": self.directory,
            "shared_buffers_mb": memory_mb // 4,
            "effective_cache_size_mb": memory_mb * 3 // 4,
            "maintenance_mb": memory_mb // 16,
        })
        with (self.directory / "postgresql.conf").open("a") as configuration:
            configuration.write("include 'guide.conf'\n")
        self.server = Server(f"postgres_{self.name}", [*AS_POSTGRES, str(self.bin / "postgres"),
                                                          "-D", str(self.directory)],
                             all_cores(), self.work, stop_signal=signal.SIGINT)
        ready = [str(self.bin / "pg_isready"), "-q", "-h", str(self.directory)]
        self.server.wait_ready(lambda: subprocess.run(ready, check=False).returncode == 0,
                               START_LIMIT_SECONDS)

    def connection(self, database: str = "bench") -> list:
        """How programs reach a database."""
        return ["-h", self.directory, "-U", "postgres", "-d", database]

    def psql(self, *statements: str, database: str = "bench") -> str:
        """Runs statements, each by itself, and returns what they print."""
        words = [word for statement in statements for word in ("-c", statement)]
        return checked([self.bin / "psql", *self.connection(database), "-v", "ON_ERROR_STOP=1",
                        "-qAt", *words])

    def create(self, has_gin: bool) -> None:
        """Makes the database anew."""
        self.psql("DROP DATABASE IF EXISTS bench", "CREATE DATABASE bench", database="postgres")
        checked([self.bin / "psql", *self.connection(), "-v", "ON_ERROR_STOP=1", "-qAt",
                 "-f", HERE / "schema.sql"])
        if has_gin:
            self.psql(GIN_INDEX)

    def cpu_seconds(self) -> float:
        """CPU time of the server with all its processes, ended ones included."""
        return cpu_seconds(process_tree(self.server.process.pid))

    def version(self) -> str:
        """The version of the server."""
        return checked([self.bin / "postgres", "--version"]).strip()


class Postgres:
    """One cluster, as a system of the comparison."""

    def __init__(self, rows_source, digits: Path, work: Path, has_gin: bool):
        name = "gin" if has_gin else "plain"
        self.cluster, self.rows_source = Cluster(name, work), rows_source
        self.digits, self.has_gin = digits, has_gin
        self.key = f"postgres_{name}"
        self.title = "PostgreSQL, GIN" if has_gin else "PostgreSQL"
        self.insert_words: list[str] = []

    def start(self) -> None:
        """Starts the server without data, and writes a script per digit that inserts send."""
        self.cluster.start()
        self.clear()
        template = (HERE / "insert.sql").read_text()
        for number, line in enumerate(self.digits.read_text().split()[:SENT_DIGITS]):
            *features, _ = line.split(",")
            script = self.cluster.directory / f"insert_{number}.sql"
            script.write_text(template.replace("@features@", f"features_{number}"))
            self.insert_words += ["-f", str(script), "-D",
                                  f"features_{number}=[{','.join(features)}]"]

    def clear(self) -> None:
        """Removes all rows."""
        self.cluster.create(self.has_gin)

    def freeze(self) -> None:
        """Stops all processes, so that background work leaves the cores to the others."""
        self.cluster.server.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Undoes `freeze`."""
        self.cluster.server.send(signal.SIGCONT)

    def stop(self) -> None:
        """Ends the server; a second call does nothing."""
        if self.cluster.server:
            self.cluster.server.stop()

    def psql(self, *statements: str) -> str:
        """Runs statements in the database."""
        return self.cluster.psql(*statements)

    def pgbench(self, clients: int, *words: str) -> dict:
        """One run of pgbench: rates, latencies from its log of every transaction, CPU times."""
        prefix = self.cluster.work / f"{self.key}.log"
        cpu_before = self.cluster.cpu_seconds()
        output, client_cpu, elapsed = run_counted(
            [self.cluster.bin / "pgbench", "-h", self.cluster.directory, "-U", "postgres", "-n",
             "-M", "prepared", "-c", clients, "-j", min(PGBENCH_THREADS, clients), "-l",
             f"--log-prefix={prefix}", *words, "bench"])
        server_cpu = self.cluster.cpu_seconds() - cpu_before
        times_us = []
        for path in self.cluster.work.glob(f"{self.key}.log.*"):
            with path.open() as log:
                times_us += [float(line.split()[2]) for line in log]
            path.unlink()
        rate = re.search(r"^tps = ([0-9.]+)", output, re.MULTILINE)
        failed = re.search(r"number of failed transactions: ([0-9]+)", output)
        if not (rate and times_us) or (failed and int(failed.group(1))):
            raise BenchError(f"pgbench {words[:2]}: no result or failed transactions:\n{output}")
        threads = min(PGBENCH_THREADS, clients)
        return {"rows": len(times_us), "seconds": elapsed, "rows_per_s": float(rate.group(1)),
                "p50_us": percentile(times_us, 0.5), "p99_us": percentile(times_us, 0.99),
                "cpu_seconds": server_cpu + client_cpu,
                "cpu_us_per_row": server_cpu / len(times_us) * 1e6,
                "client_cpu_us_per_row": client_cpu / len(times_us) * 1e6,
                "client_thread_busy": client_cpu / elapsed / threads}

    def script(self, name: str, count: int) -> dict:
        """One client that runs a script of this folder so many times."""
        return self.pgbench(1, "-t", str(count), "-f", str(HERE / name))

    def insert(self, clients: int, seconds: float) -> dict:
        """One window of single inserts, each a transaction of its own."""
        return self.pgbench(clients, "-T", str(max(1, round(seconds))), *self.insert_words)

    def load(self, first: int, rows: int) -> dict:
        """One step of the load: one COPY, fed by the driver."""
        began, cpu_before = time.monotonic(), self.cluster.cpu_seconds()
        source = self.rows_source(first, rows, "copy")
        _, client_cpu, _ = run_counted(
            [self.cluster.bin / "psql", *self.cluster.connection(), "-v",
             "ON_ERROR_STOP=1", "-qAt", "-c", f"{COPY} FROM STDIN"], stdin=source.stdout)
        source.stdout.close()
        if source.wait():
            raise BenchError(f"the driver's rows for PostgreSQL ended with {source.returncode}")
        seconds = time.monotonic() - began
        return {"rows": first + rows, "seconds": seconds, "rows_per_s": rows / seconds,
                "cpu_us_per_row": (self.cluster.cpu_seconds() - cpu_before) / rows * 1e6,
                "client_share": client_cpu / seconds, "disk_bytes": self.disk_bytes()}

    def disk_bytes(self) -> int:
        """Space of the table with its indexes; the write-ahead log is not counted."""
        return int(self.psql("SELECT pg_total_relation_size('predictions')"))

    def settle(self) -> None:
        """What autovacuum would come to: statistics and the visibility map."""
        self.psql("VACUUM ANALYZE predictions", "CHECKPOINT")

    def newest(self, queries: int) -> dict:
        """The latency of the newest hundred of random models, one client on the Unix socket."""
        self.script("newest.sql", 200)
        result = self.script("newest.sql", queries)
        without = self.script("newest_without_features.sql", queries)
        return {**result, "without_features_p50_us": without["p50_us"]}

    def newest_ids(self) -> list[list[str]]:
        """The request ids of the newest hundred of every model."""
        statement = ("SELECT replace(request_id::text, '-', '') FROM predictions"
                     " WHERE model_id = {} ORDER BY timestamp DESC LIMIT 100")
        return [self.psql(statement.format(model)).split()
                for model in range(1, MODEL_COUNT + 1)]

    def view(self, reads: int) -> dict:
        """The time of one refresh and of reading the view after it."""
        output = checked([self.cluster.bin / "psql", *self.cluster.connection(),
                          "-v", "ON_ERROR_STOP=1", "-c", "\\timing on", "-c", REFRESH])
        taken = re.search(r"^Time: ([0-9.]+) ms", output, re.MULTILINE)
        if not taken:
            raise BenchError(f"psql gave no time of the refresh:\n{output}")
        read = self.script("view.sql", reads)
        counted = int(self.psql("SELECT sum(total_predictions) FROM mv_model_performance"))
        return {"rows": counted, "refresh_seconds": float(taken.group(1)) / 1e3,
                "read_p50_us": read["p50_us"],
                "seconds": float(taken.group(1)) / 1e3 + read["p50_us"] / 1e6}
