"""The proxies that `bench/peers` compares: how each is found, configured and started.

All get the same certificate, listen on 8080 and 8443 of an address of their own, forward to the same pods over
kept connections, and run one worker on core 0. Those that can add the forwarded headers and set a cookie do.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import common
import peer_haproxy

HOST, HTTP, HTTPS = "bench.test", 8080, 8443
PROXY_CORE, CLIENT_CORE = 0, 1
MANY = "host-{}.apps.bench.test"


@dataclass
class Setup:
    """What a set of proxies is started with."""

    work: Path
    certificate: Path
    key: Path
    pem: Path
    pods: list
    log: bool = False
    hosts: int = 0

    def all_hosts(self):
        return [HOST, *(MANY.replace("{}", str(number)) for number in range(self.hosts))]

    def routes(self):
        """(host, name of the route)."""
        return [(host, host.partition(".")[0]) for host in self.all_hosts()]


def pinned(core, command):
    return ["taskset", "-c", str(core), *map(str, command)]


def version_of(binary, flag, pattern):
    done = subprocess.run([binary, flag], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = re.search(pattern, done.stdout)
    return found[1] if found else "unknown version"


class Peer:
    """One proxy. `write` returns the command; `address` is its own."""

    label = variable = program = version_flag = ""
    pattern = r"(\d+\.\d+\.\d+)"
    environment = {}

    def __init__(self, number):
        self.address = f"127.0.1.{number}"

    def binary(self):
        named = os.environ.get(self.variable) or self.program
        return shutil.which(named)

    def version(self):
        return version_of(self.binary(), self.version_flag, self.pattern)

    def access_log(self, setup):
        """Where its lines go: what it writes to stdout, unless it wants a file of its own."""
        return setup.work / f"{self.label}.access".replace(" ", "-")

    def start(self, processes, setup):
        log = setup.work / f"{self.label}.log".replace(" ", "-")
        output = self.access_log(setup).open("wb")
        environment = {**os.environ, **self.environment}
        command = pinned(PROXY_CORE, self.command(setup))
        child = processes.start(command, log, env=environment, cwd=setup.work, stdout=output)
        output.close()
        try:
            common.wait_until(lambda: answers(self.address), self.label, child)
        except SystemExit:
            print(log.read_text(errors="replace")[-2000:], file=sys.stderr)
            raise
        return child

    def add(self, setup, child):
        """One route more while it runs; returns its host."""
        raise NotImplementedError

    def add_by_reload(self, setup, child, number):
        setup.hosts += 1
        self.command(setup)
        child.send_signal(number)
        return setup.all_hosts()[-1]


def answers(address, host=HOST):
    return common.answers(address, HTTP, "/", {"Host": host})


class Wharf(Peer):
    label, variable = "wharf", "WHARF"
    version_flag = "--version"

    def binary(self):
        return common.binary()

    def command(self, setup):
        folder = setup.work / "routes"
        folder.mkdir(exist_ok=True)
        (folder / "pods.yaml").write_text(
            common.service("pods", selector=False)
            + "---\n"
            + common.endpoint_slice("pods-1", "pods", setup.pods)
        )
        for host, name in setup.routes():
            self.write(setup, host, name)
        command = [self.binary(), "router", "--manifests", folder, "--allow-loopback-endpoints", "--workers", 1]
        command += ["--http", f"{self.address}:{HTTP}", "--https", f"{self.address}:{HTTPS}"]
        return command if setup.log else [*command, "--no-access-log"]

    def add(self, setup, child):
        setup.hosts += 1
        host, name = setup.routes()[-1]
        self.write(setup, host, name)
        return host

    def write(self, setup, host, name):
        """Writes a route that serves TLS and plain HTTP alike; only the first has its own certificate."""
        text = common.route(name, host, "pods") + "  tls:\n    termination: edge\n"
        text += "    insecureEdgeTerminationPolicy: Allow\n"
        if host == HOST:
            for field, file in (("certificate", setup.certificate), ("key", setup.key)):
                text += f"    {field}: {json.dumps(file.read_text())}\n"
        common.write(setup.work / "routes" / f"{name}.yaml", text, rename=True)


class HaproxyMinimal(Peer):
    label, variable, program, version_flag = "HAProxy minimal", "HAPROXY", "haproxy", "-v"
    write = staticmethod(peer_haproxy.minimal)

    def command(self, setup):
        config = setup.work / f"{self.label}.cfg".replace(" ", "-")
        config.write_text(self.write(setup, self.address))
        return [self.binary(), "-W", "-db", "-f", config]

    def add(self, setup, child):
        return self.add_by_reload(setup, child, signal.SIGUSR2)


class HaproxyOpenShift(HaproxyMinimal):
    label = "HAProxy OpenShift-like"
    write = staticmethod(peer_haproxy.openshift)


class Nginx(Peer):
    label, variable, program, version_flag = "nginx", "NGINX", "nginx", "-v"

    def command(self, setup):
        config = setup.work / "nginx-peer.conf"
        servers = "".join(f"server {pod}:8080; " for pod in setup.pods)
        many = "server_names_hash_max_size 65536; server_names_hash_bucket_size 128;" if setup.hosts else ""
        config.write_text(
            f"""daemon off; worker_processes 1; worker_rlimit_nofile 100000;
pid {setup.work}/nginx-peer.pid; error_log stderr error;
events {{ worker_connections 50000; }}
http {{
  access_log {self.access_log(setup) if setup.log else "off"};
  client_body_temp_path {setup.work}/nginx-body; proxy_temp_path {setup.work}/nginx-proxy;
  keepalive_timeout 300s; keepalive_requests 1000000000; client_max_body_size 0; {many}
  upstream pods {{ random; {servers} keepalive 512; keepalive_requests 1000000000; }}
  map $http_upgrade $onward {{ default upgrade; "" ""; }}
  map $cookie_bench $fresh {{ default ""; "" "bench=8f14e45fceea167a5a36dedd4bea2543; path=/; HttpOnly"; }}
  server {{ listen {self.address}:{HTTP} default_server backlog=4096; return 503; }}
  server {{
    listen {self.address}:{HTTP}; listen {self.address}:{HTTPS} ssl http2 backlog=4096;
    server_name {" ".join(setup.all_hosts())};
    ssl_certificate {setup.certificate}; ssl_certificate_key {setup.key};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_prefer_server_ciphers on; ssl_ciphers {peer_haproxy.CIPHERS};
    ssl_conf_command Ciphersuites {peer_haproxy.SUITES};
    location / {{
      proxy_pass http://pods; proxy_http_version 1.1;
      proxy_set_header Connection $onward; proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Port $server_port;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header Forwarded "for=$remote_addr;host=$http_host;proto=$scheme";
      proxy_buffer_size 32k; proxy_buffers 8 32k; proxy_max_temp_file_size 0; proxy_request_buffering off;
      add_header Set-Cookie $fresh;
    }}
  }}
}}
"""
        )
        return [self.binary(), "-e", "stderr", "-p", setup.work, "-c", config]

    def add(self, setup, child):
        return self.add_by_reload(setup, child, signal.SIGHUP)


class Envoy(Peer):
    label, variable, program, version_flag = "Envoy", "ENVOY", "envoy", "--version"

    def command(self, setup):
        config = setup.work / "envoy.json"
        config.write_text(json.dumps(envoy(setup, self.address, self.access_log(setup))))
        command = [self.binary(), "--config-path", config, "--concurrency", 1]
        return [*command, "--disable-hot-restart", "-l", "error", "--file-flush-interval-msec", 1000]


def typed(name, kind, **fields):
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.{kind}", **fields}}


def envoy(setup, address, lines):
    extensions, stateful = "extensions.filters.http", "http.stateful_session.cookie"
    cookie = typed(f"envoy.{stateful}", f"extensions.{stateful}.v3.CookieBasedSessionState")
    cookie["typed_config"]["cookie"] = {"name": "bench", "path": "/"}
    add = {"x-forwarded-host": "%REQ(:authority)%", "x-forwarded-port": "%DOWNSTREAM_LOCAL_PORT%"}
    add["forwarded"] = (
        "for=%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%;host=%REQ(:authority)%;proto=%REQ(:SCHEME)%"
    )
    manager = typed(
        "hcm",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="bench",
        use_remote_address=True,
        upgrade_configs=[{"upgrade_type": "websocket"}],
        http_filters=[
            typed("session", f"{extensions}.stateful_session.v3.StatefulSession", session_state=cookie),
            typed("router", f"{extensions}.router.v3.Router"),
        ],
        route_config={
            "ignore_port_in_host_matching": True,
            "request_headers_to_add": [{"header": {"key": key, "value": value}} for key, value in add.items()],
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": setup.all_hosts(),
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "pods"}}],
                }
            ],
        },
    )
    if setup.log:
        file = "extensions.access_loggers.file.v3.FileAccessLog"
        manager["typed_config"]["access_log"] = [typed("log", file, path=str(lines))]
    pair = {
        "certificate_chain": {"filename": str(setup.certificate)},
        "private_key": {"filename": str(setup.key)},
    }
    tls = {"tls_certificates": [pair], "alpn_protocols": ["h2", "http/1.1"]}
    secure = typed("tls", "extensions.transport_sockets.tls.v3.DownstreamTlsContext", common_tls_context=tls)

    def socket(host, port):
        return {"address": {"socket_address": {"address": host, "port_value": port}}}

    def listener(port, **more):
        return {"name": str(port), **socket(address, port), "filter_chains": [{"filters": [manager], **more}]}

    limits = {"max_connections": 50000, "max_requests": 50000, "max_pending_requests": 50000}
    check = {"timeout": "5s", "interval": "5s", "unhealthy_threshold": 3, "healthy_threshold": 2}
    cluster = {
        "name": "pods",
        "type": "STATIC",
        "connect_timeout": "5s",
        "lb_policy": "RANDOM",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {
            "cluster_name": "pods",
            "endpoints": [{"lb_endpoints": [{"endpoint": socket(pod, 8080)} for pod in setup.pods]}],
        },
    }
    if len(setup.pods) > 1:
        cluster["health_checks"] = [{**check, "tcp_health_check": {}}]
    listeners = [listener(HTTP), listener(HTTPS, transport_socket=secure)]
    return {"static_resources": {"listeners": listeners, "clusters": [cluster]}}


class Caddy(Peer):
    label, variable, program, version_flag = "Caddy", "CADDY", "caddy", "version"
    environment = {"GOMAXPROCS": "1"}

    def command(self, setup):
        config = setup.work / "caddy.json"
        config.write_text(json.dumps(caddy(setup, self.address, self.access_log(setup))))
        return [self.binary(), "run", "--config", config]


def caddy(setup, address, lines):
    add = {"X-Forwarded-Port": "{http.request.port}"}
    add["Forwarded"] = "for={http.request.remote.host};host={http.request.host};proto={http.request.scheme}"
    proxy = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"{pod}:8080"} for pod in setup.pods],
        "headers": {"request": {"set": {name: [value] for name, value in add.items()}}},
        "load_balancing": {"selection_policy": {"policy": "cookie", "name": "bench", "secret": "bench"}},
        "transport": {"protocol": "http", "keep_alive": {"max_idle_conns_per_host": 512}},
    }
    if len(setup.pods) > 1:
        proxy["health_checks"] = {"active": {"uri": "/", "interval": "5s", "timeout": "5s"}}
    server = {
        "routes": [{"match": [{"host": setup.all_hosts()}], "handle": [proxy]}],
        "automatic_https": {"disable": True},
        "protocols": ["h1", "h2"],
        "idle_timeout": "300s",
    }
    logs = {"default": {"level": "ERROR", "exclude": ["http.log.access"]}}
    if setup.log:
        server["logs"] = {}
        writer = {"output": "file", "filename": str(lines), "roll": False}
        logs["access"] = {"include": ["http.log.access"], "writer": writer}
    plain = {**server, "listen": [f"{address}:{HTTP}"]}
    secure = {**server, "listen": [f"{address}:{HTTPS}"], "tls_connection_policies": [{}]}
    pair = {"certificate": str(setup.certificate), "key": str(setup.key)}
    return {
        "admin": {"disabled": True},
        "logging": {"logs": logs},
        "apps": {
            "http": {"servers": {"plain": plain, "secure": secure}},
            "tls": {"certificates": {"load_files": [pair]}},
        },
    }


PEERS = (Wharf, HaproxyMinimal, HaproxyOpenShift, Nginx, Envoy, Caddy)
