"""Owns the servers of the comparison: this binary, nginx and HAProxy with the same content, limits,
cache and certificate, and the server behind them.

Refuses to know how they are measured. Bound: one process tree each, pinned to one core.
"""

import http.client
import resource
import shutil
import signal
import ssl
from pathlib import Path

from candidates import START_LIMIT_SECONDS, Server, fetch, free_port
from measure import BenchError

BODY = "x" * 128
SIZES = {"1k": 1 << 10, "64k": 64 << 10}
# HAProxy counts two descriptors for each connection.
CONNECTIONS_MAX = min(12_000, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100) // 2)


def program(name: str) -> str:
    """The path of a program that Debian may have put where users do not look."""
    return shutil.which(name) or f"/usr/sbin/{name}"


class Upstream:
    """The server behind all of them: an nginx with files in memory."""

    def __init__(self, core: int, work: Path):
        self.port = free_port()
        directory = fresh(work / "upstream")
        root = directory / "root/cached"
        root.mkdir(parents=True)
        for name, size in SIZES.items():
            (root / name).write_bytes(b"x" * size)
        (directory / "nginx.conf").write_text(f"""
{nginx_base(directory)}
    server {{
        listen 127.0.0.1:{self.port};
        root {directory}/root;
        default_type text/plain;
        location /cached/ {{ add_header Cache-Control "public, max-age=86400"; }}
        location / {{ return 200 '{BODY}'; }}
    }}
}}
""")
        self.server = start_nginx("upstream", directory, core)
        self.server.wait_ready(lambda: fetch(self.port, "/")[0] == 200, START_LIMIT_SECONDS)

    def stop(self) -> None:
        """Ends it."""
        self.server.stop()


class Peer:
    """What each has: a plain port, one with TLS, and one process tree."""

    key = title = ""

    def __init__(self, core: int, directory: Path, upstream: int, certificate: tuple[Path, Path]):
        self.core, self.directory, self.upstream = core, fresh(directory), upstream
        self.certificate = certificate
        self.port, self.tls_port = free_port(), free_port()
        self.server: Server | None = None

    def launch(self, *command: object) -> None:
        """Starts the process tree and asks every path once."""
        self.server = Server(self.key, list(map(str, command)), self.core, self.directory)
        self.server.wait_ready(lambda: fetch(self.port, "/local")[0] == 200, START_LIMIT_SECONDS)
        for path, bytes_expected in (("/local", 128), ("/proxied", 128), ("/cached/1k", 1 << 10),
                                     ("/cached/64k", 64 << 10)):
            for _ in range(3):
                status, body = fetch(self.port, path)
                if status != 200 or len(body) != bytes_expected:
                    raise BenchError(f"{self.title}: {path} is answered {status}, {len(body)} B")
        statuses = [fetch(self.port, "/limited")[0] for _ in range(3)]
        if statuses[-1] != 429:
            raise BenchError(f"{self.title}: /limited is answered {statuses}")
        context = ssl._create_unverified_context()
        client = http.client.HTTPSConnection("127.0.0.1", self.tls_port, context=context)
        client.request("GET", "/local")
        if client.getresponse().read() != BODY.encode():
            raise BenchError(f"{self.title}: its answer over TLS is another one")
        if client.sock is not None and client.sock.version() != "TLSv1.3":
            raise BenchError(f"{self.title} speaks {client.sock.version()}")
        client.close()

    def pids(self) -> list[int]:
        """Its processes."""
        return self.server.pids()

    def stop(self) -> None:
        """Ends it."""
        if self.server:
            self.server.stop()


class TrustStram(Peer):
    """This project's binary."""

    key, title = "truststram", "truststram"

    def __init__(self, binary: Path, *rest):
        super().__init__(*rest)
        self.binary = binary

    def start(self) -> None:
        """Starts it without a model."""
        chain, key = self.certificate
        config = self.directory / "bench.toml"
        config.write_text(f"""
[server]
listen = "127.0.0.1:{self.port}"
admin_listen = "127.0.0.1:{free_port()}"
data_dir = "{self.directory}/data"

[gateway]
tls_listen = "127.0.0.1:{self.tls_port}"
certificates = [{{ chain = "{chain}", key = "{key}" }}]
tls_tickets = false
hsts_s = 0
security_headers = false
h2_idle_timeout_s = 600
keepalive_s = 600

[cache]
memory_mib = 64

[[limits]]
name = "one"
key = "ip"
rate = "1r/m"

[[routes]]
name = "local"
path = "/local"
status = 200
body = "{BODY}"

[[routes]]
name = "limited"
path = "/limited"
status = 200
body = "{BODY}"
limit_requests = [{{ zone = "one" }}]

[[routes]]
name = "cached"
path = "/cached"
upstream = "behind"
cache = true

[[routes]]
name = "proxied"
path = "/proxied"
upstream = "behind"

[[upstreams]]
name = "behind"
servers = [{{ address = "127.0.0.1:{self.upstream}" }}]
""")
        self.launch(self.binary, "serve", "--config", config)


class Nginx(Peer):
    """Debian's nginx."""

    key, title = "nginx", "nginx"

    def start(self) -> None:
        """Starts one worker."""
        chain, key = self.certificate
        cache = self.directory / "cache"
        (self.directory / "nginx.conf").write_text(f"""
{nginx_base(self.directory)}
    proxy_cache_path {cache} keys_zone=store:10m max_size=64m use_temp_path=off;
    limit_req_zone $binary_remote_addr zone=one:10m rate=1r/m;
    limit_req_status 429;
    ssl_certificate {chain};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_tickets off;
    ssl_session_cache off;
    upstream behind {{ server 127.0.0.1:{self.upstream}; keepalive 128; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{self.port};
        listen 127.0.0.1:{self.tls_port} ssl http2;
        default_type text/plain;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        location /local {{ return 200 '{BODY}'; }}
        location /limited {{ limit_req zone=one; proxy_pass http://behind; }}
        location /cached {{ proxy_cache store; proxy_pass http://behind; }}
        location /proxied {{ proxy_pass http://behind; }}
    }}
}}
""")
        self.launch(program("nginx"), "-p", self.directory, "-c", self.directory / "nginx.conf")


class HaProxy(Peer):
    """Debian's HAProxy."""

    key, title = "haproxy", "HAProxy"

    def start(self) -> None:
        """Starts one thread."""
        chain, key = self.certificate
        both = self.directory / "both.pem"
        both.write_text(chain.read_text() + key.read_text())
        (self.directory / "haproxy.cfg").write_text(f"""
global
    nbthread 1
    maxconn {CONNECTIONS_MAX}
    tune.ssl.cachesize 0
    ssl-default-bind-options no-tls-tickets ssl-min-ver TLSv1.2
defaults
    mode http
    timeout client 600s
    timeout server 60s
    timeout connect 5s
    timeout http-keep-alive 600s
    option forwardfor
    http-reuse always
cache store
    total-max-size 64
    max-object-size 131072
    max-age 86400
frontend all
    bind 127.0.0.1:{self.port}
    bind 127.0.0.1:{self.tls_port} ssl crt {both} alpn h2,http/1.1
    stick-table type ip size 100k expire 60s store http_req_rate(60s)
    http-request track-sc0 src if {{ path /limited }}
    http-request deny deny_status 429 if {{ path /limited }} {{ sc_http_req_rate(0) gt 1 }}
    http-request return status 200 content-type text/plain string {BODY} if {{ path /local }}
    use_backend cached if {{ path_beg /cached }}
    default_backend behind
backend cached
    http-request cache-use store
    http-response cache-store store
    server one 127.0.0.1:{self.upstream}
backend behind
    server one 127.0.0.1:{self.upstream}
""")
        self.launch(program("haproxy"), "-db", "-f", self.directory / "haproxy.cfg")


def nginx_base(directory: Path) -> str:
    """What both nginx have in common; the block `http` stays open."""
    paths = "".join(f"    {kind}_temp_path {directory}/{kind};\n"
                    for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
    return f"""user root;
worker_processes 1;
worker_rlimit_nofile {2 * CONNECTIONS_MAX};
daemon off;
error_log {directory}/error.log crit;
pid {directory}/nginx.pid;
events {{ worker_connections {2 * CONNECTIONS_MAX - 100}; multi_accept on; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
{paths}    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    open_file_cache max=1000 inactive=600s;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
"""


def start_nginx(name: str, directory: Path, core: int) -> Server:
    """Starts an nginx with the configuration in its directory."""
    return Server(name, [program("nginx"), "-p", str(directory), "-c",
                         str(directory / "nginx.conf")], core, directory, stop_signal=signal.SIGTERM)


def fresh(directory: Path) -> Path:
    """The directory, empty."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory
