"""Owns the store's side: it runs the driver, one process per window, and reads its lines.

Refuses to know what the driver does. Bound: one driver at a time.
"""

import json
import shutil
import subprocess
from pathlib import Path

from shared import checked


class TrustStram:
    """The store, in the driver's process."""

    key, title = "truststram", "truststram"

    def __init__(self, driver: Path, digits: Path, work: Path, times: list[str]):
        self.driver, self.digits, self.times = driver, digits, times
        self.directory = work / "truststram"
        self.window = 0

    def start(self) -> None:
        """Begins without data."""
        self.clear()

    def clear(self) -> None:
        """Removes all rows."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)

    def insert(self, clients: int, seconds: float) -> dict:
        """One window of single durable inserts; every window has rows of its own."""
        self.window += 1
        return self.last("insert", "--clients", clients, "--seconds", seconds,
                         "--seed", 1_000 + self.window)

    def load(self, first: int, rows: int) -> dict:
        """One step of the load, with its close; the space is that of the closed files."""
        step, closed = self.run("load", "--from", first, "--rows", rows, *self.times)
        return {**step, **closed}

    def newest(self, queries: int) -> dict:
        """The latency of the newest hundred of random models."""
        return self.last("newest", "--queries", queries)

    def newest_ids(self) -> list[list[str]]:
        """The request ids of the newest hundred of every model."""
        return [line.split() for line in self.text("newest-ids").splitlines()]

    def view(self, reads: int) -> dict:
        """The latency of reading the performance view of every model."""
        return self.last("view", "--reads", reads)

    def floor(self, seconds: float) -> dict:
        """What the disk takes: 4 KiB at a time, each synced."""
        return self.last("floor", "--seconds", seconds)

    def rows(self, first: int, rows: int, form: str) -> subprocess.Popen:
        """The same rows as text, for a peer to read from its standard output."""
        return subprocess.Popen(self.command("rows", "--from", first, "--rows", rows,
                                             "--format", form, *self.times),
                                stdout=subprocess.PIPE)

    def freeze(self) -> None:
        """Nothing of it runs between windows."""

    def resume(self) -> None:
        """See `freeze`."""

    def stop(self) -> None:
        """See `freeze`."""

    def command(self, name: str, *words) -> list[str]:
        """The driver's command line."""
        return [str(word) for word in (self.driver, name, "--directory", self.directory,
                                       "--digits", self.digits, *words)]

    def text(self, name: str, *words) -> str:
        """What the driver prints."""
        return checked(self.command(name, *words))

    def run(self, name: str, *words) -> list[dict]:
        """The lines that the driver prints."""
        return [json.loads(line) for line in self.text(name, *words).splitlines()]

    def last(self, name: str, *words) -> dict:
        """The last line that the driver prints."""
        return self.run(name, *words)[-1]
