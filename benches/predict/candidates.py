"""Owns the three servers of the comparison: how each starts, is asked, is frozen and stops.

Refuses to know how they are measured. Bound: every start has a limit in seconds; every process
belongs to a session of its own, so that stopping reaches all of it.
"""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from measure import BenchError, process_tree, wait_until

HERE = Path(__file__).resolve().parent
START_LIMIT_SECONDS = 60.0
# The first start of this binary trains the digits example before it is ready.
TRAIN_LIMIT_SECONDS = 180.0
STOP_LIMIT_SECONDS = 20.0
DATABASE_POOL_SIZE = 20
"""The guide's `db_pool_size`."""


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(port: int, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """One request over a connection of its own: status and body. A refused connection is 0."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {"Content-Type": "application/json"} if body else {}
        connection.request("POST" if body else "GET", path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    except ConnectionError:
        return 0, b""
    finally:
        connection.close()


def render(template: str, target: Path, values: dict[str, object]) -> None:
    """Writes a template of this folder with its `@name@` places filled."""
    text = (HERE / template).read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    target.write_text(text)


class Server:
    """One process tree pinned to one core, with its output in a log file."""

    def __init__(self, name: str, command: list[str], core: int, directory: Path,
                 environment: dict[str, str] | None = None, stop_signal=signal.SIGTERM):
        self.name, self.stop_signal = name, stop_signal
        self.log = directory / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["taskset", "-c", str(core), *command], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True, env={**os.environ, **(environment or {})})

    def pids(self) -> list[int]:
        """The process and its descendants."""
        return process_tree(self.process.pid)

    def wait_ready(self, ready, limit_seconds: float) -> None:
        """Polls `ready`; an ended process or the limit is an error with the end of the log."""
        def ready_or_dead() -> bool:
            if self.process.poll() is not None:
                raise BenchError(f"{self.name} ended at start; its log says:\n{self.log_end()}")
            return ready()
        try:
            wait_until(f"{self.name} (log {self.log})", ready_or_dead, limit_seconds)
        except BenchError as error:
            raise BenchError(f"{error}\n{self.log_end()}") from None

    def log_end(self) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def send(self, number: int) -> None:
        """Sends a signal to every process of the tree, the root first."""
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def stop(self) -> None:
        """Ends the tree: politely, and by SIGKILL after the limit."""
        if self.process.poll() is not None:
            return
        self.send(signal.SIGCONT)
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(STOP_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self.process.wait()


class Candidate:
    """What the run needs of each: servers, a URL, and where its records are counted."""

    key = title = ""
    path = "/api/v1/predict"

    def __init__(self):
        self.port = free_port()
        self.servers: list[Server] = []

    @property
    def url(self) -> str:
        """Where the load goes."""
        return f"http://127.0.0.1:{self.port}{self.path}"

    def groups(self) -> dict[str, list[int]]:
        """Process ids by server name."""
        return {server.name: server.pids() for server in self.servers}

    def kept(self) -> int | None:
        """How many records the candidate says are committed; none if it keeps none."""
        return None

    def stored(self) -> int | None:
        """How many records the database itself counts, where it is a separate program."""
        return None

    def predict(self, body: bytes) -> tuple[int, int]:
        """One prediction: the class, and the size of the answer's body in bytes."""
        status, answer = fetch(self.port, self.path, body)
        if status != 200:
            raise BenchError(f"{self.title} answered {status} to {body!r}: {answer!r}")
        return int(json.loads(answer)["prediction"]), len(answer)

    def freeze(self) -> None:
        """Stops all its processes, so that its background work leaves the core to the others."""
        for server in self.servers:
            server.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Undoes `freeze`."""
        for server in self.servers:
            server.send(signal.SIGCONT)

    def stop(self) -> None:
        """Ends all its servers, the last started first."""
        for server in reversed(self.servers):
            server.stop()


class TrustStram(Candidate):
    """This project's binary, serving the digits example."""

    key, title = "truststram", "truststram serve"

    def __init__(self, binary: Path, extra: list[str], core: int, work: Path):
        super().__init__()
        self.binary, self.extra, self.core = binary, extra, core
        self.data_dir = work / "truststram"
        self.model = self.data_dir / "models/digits/1/model.safetensors"
        self.admin_port = free_port()

    def start(self) -> None:
        """Starts from an empty data directory, so that every record is of this run."""
        shutil.rmtree(self.data_dir, ignore_errors=True)
        command = [str(self.binary), "serve", "--example", "digits",
                   "--data-dir", str(self.data_dir), "--listen", f"127.0.0.1:{self.port}",
                   "--admin-listen", f"127.0.0.1:{self.admin_port}", *self.extra]
        server = Server("truststram", command, self.core, self.data_dir.parent)
        self.servers.append(server)
        server.wait_ready(lambda: fetch(self.port, "/readyz")[0] == 200, TRAIN_LIMIT_SECONDS)

    def kept(self) -> int:
        """The rows that its store has committed."""
        _, text = fetch(self.admin_port, "/metrics")
        name = "truststram_store_rows_committed_total"
        samples = re.findall(rf"^{name}(?:\{{[^}}]*\}})? ([0-9.e+]+)", text.decode(), re.MULTILINE)
        if not samples:
            raise BenchError(f"{self.title}: /metrics of the admin port has no {name}")
        return int(sum(map(float, samples)))


class GuideStack(Candidate):
    """The guide's stack: nginx, Uvicorn with FastAPI and PyTorch, PostgreSQL."""

    key, title = "guide", "nginx + FastAPI/PyTorch + PostgreSQL"

    def __init__(self, model: Path, python: Path, core: int, work: Path):
        super().__init__()
        self.model, self.python, self.core = model, python, core
        self.work, self.cluster = work, work / "pg"
        self.app_port = free_port()
        self.postgres_bin = max(Path("/usr/lib/postgresql").glob("*/bin"),
                                key=lambda path: int(path.parent.name))

    def start(self) -> None:
        """Starts PostgreSQL, the application and nginx, each when the one before it is ready."""
        if not self.model.is_file():
            raise BenchError(f"{self.title}: there is no model file {self.model}")
        self.start_postgres()
        self.start_application()
        self.start_nginx()

    def start_postgres(self) -> None:
        """Makes an empty cluster with the guide's settings and schema."""
        as_postgres = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups"]
        shutil.rmtree(self.cluster, ignore_errors=True)
        self.cluster.mkdir()
        shutil.chown(self.cluster, "postgres", "postgres")
        checked([*as_postgres, self.postgres_bin / "initdb", "-D", self.cluster, "-U", "postgres",
                 "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"])
        memory_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
        settings = self.cluster / "guide.conf"
        render("guide_postgresql.conf.template", settings, {
            "socket_dir": self.cluster,
            "shared_buffers_mb": memory_mb // 4,
            "effective_cache_size_mb": memory_mb * 3 // 4,
            "maintenance_mb": memory_mb // 16,
        })
        with (self.cluster / "postgresql.conf").open("a") as configuration:
            configuration.write("include 'guide.conf'\n")
        server = Server("postgres", [*as_postgres, str(self.postgres_bin / "postgres"),
                                     "-D", str(self.cluster)],
                        self.core, self.work, stop_signal=signal.SIGINT)
        self.servers.append(server)
        ready = [str(self.postgres_bin / "pg_isready"), "-q", "-h", str(self.cluster)]
        server.wait_ready(lambda: subprocess.run(ready, check=False).returncode == 0,
                          START_LIMIT_SECONDS)
        self.psql("-v", f"model_path={self.model}", "-f", str(HERE / "schema.sql"))

    def start_application(self) -> None:
        """Starts the one Uvicorn worker."""
        server = Server("uvicorn", [str(self.python), str(HERE / "guide_stack.py")], self.core,
                        self.work, environment={
                            "GUIDE_PORT": str(self.app_port),
                            "GUIDE_DATABASE_HOST": str(self.cluster),
                            "GUIDE_POOL_SIZE": str(DATABASE_POOL_SIZE),
                            "OMP_NUM_THREADS": "1",
                        })
        self.servers.append(server)
        server.wait_ready(lambda: fetch(self.app_port, "/health")[0] == 200, START_LIMIT_SECONDS)

    def start_nginx(self) -> None:
        """Starts the reverse proxy."""
        directory = self.work / "nginx-guide"
        server = start_nginx("nginx", "guide_nginx.conf.template", directory, self.core,
                             {"port": self.port, "app_port": self.app_port})
        self.servers.append(server)
        server.wait_ready(lambda: fetch(self.port, "/health")[0] == 200, START_LIMIT_SECONDS)

    def psql(self, *arguments: str) -> str:
        """Runs psql in the cluster and returns what it prints."""
        return checked([self.postgres_bin / "psql", "-h", self.cluster, "-U", "postgres",
                        "-v", "ON_ERROR_STOP=1", "-qAt", *arguments])

    def kept(self) -> int:
        """The inserts that PostgreSQL has acknowledged to the application."""
        return json.loads(fetch(self.app_port, "/health")[1])["kept"]

    def stored(self) -> int:
        """The rows of the predictions table."""
        return int(self.psql("-c", "SELECT count(*) FROM predictions"))


class Floor(Candidate):
    """An nginx that answers with fixed bytes: what HTTP alone costs."""

    key, title = "floor", "nginx return 200"

    def __init__(self, body_bytes: int, core: int, work: Path):
        super().__init__()
        self.body_bytes, self.core, self.work = body_bytes, core, work

    def start(self) -> None:
        """Starts nginx with a body of the given size."""
        server = start_nginx("nginx-floor", "floor_nginx.conf.template", self.work / "nginx-floor",
                             self.core, {"port": self.port, "body": "x" * self.body_bytes})
        self.servers.append(server)
        server.wait_ready(lambda: fetch(self.port, "/")[0] == 200, START_LIMIT_SECONDS)


def start_nginx(name: str, template: str, directory: Path, core: int,
                values: dict[str, object]) -> Server:
    """Starts an nginx of its own from a template, with all its files under `directory`."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    configuration = directory / "nginx.conf"
    render(template, configuration, {"dir": directory, **values})
    return Server(name, [shutil.which("nginx") or "/usr/sbin/nginx", "-p", str(directory),
                         "-c", str(configuration)], core, directory)


def checked(command: list) -> str:
    """Runs a command to its end; its output, or an error with what it said."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise BenchError(f"{command[0]} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return done.stdout
