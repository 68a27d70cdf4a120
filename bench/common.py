"""What the measuring scripts share: the binary, processes, and a client that keeps its connection.

Imported by all of them. Only Python's standard library is needed.
"""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 120


def binary():
    """WHARF, or a release build."""
    if os.environ.get("WHARF"):
        return str(Path(os.environ["WHARF"]).resolve())
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=True)
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    return str(Path(target) / "release/wharf")


def alone():
    """As root: goes on in a network namespace of its own, where every port is free."""
    if os.geteuid() != 0 or os.environ.get("WHARF_BENCH_ALONE"):
        return
    os.environ["WHARF_BENCH_ALONE"] = "1"
    script = 'ip link set lo up && exec "$@"'
    again = [sys.executable, *sys.argv]
    os.execvp("unshare", ["unshare", "--net", "sh", "-c", script, "sh", *again])


class Processes:
    """Children; all are stopped at the end, whatever happens, and killed after `grace` seconds."""

    def __init__(self, grace=10):
        self.children, self.grace = [], grace

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in self.children:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        for child in self.children:
            try:
                child.wait(timeout=self.grace)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def start(self, command, log, **options):
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **options}
        with log.open("wb") as stderr:
            child = subprocess.Popen(command, stderr=stderr, **options)
        self.children.append(child)
        return child


def wait_until(condition, what, process=None):
    """Returns how long it took."""
    began = time.monotonic()
    while not condition():
        if process is not None and process.poll() is not None:
            sys.exit(f"{what}: the process ended with {process.returncode}")
        if time.monotonic() - began > START_SECONDS:
            sys.exit(f"{what}: not within {START_SECONDS} s")
        time.sleep(0.005)
    return time.monotonic() - began


def answers(host, port, path, headers=None):
    """True when GET `path` is answered with 200."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path, headers=headers or {})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def fetch(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def metric(port, name):
    """The sample that starts with `name`."""
    for line in fetch(port, "/metrics").splitlines():
        if line.startswith(name):
            return float(line.rpartition(" ")[2])
    sys.exit(f"no metric {name} at port {port}")


class Client:
    """One connection, kept as long as the server keeps it; counts when it did not."""

    def __init__(self, port):
        self.port = port
        self.closed = 0
        self.errors = 0
        self.connection = None
        self.connect()

    def connect(self):
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def pod(self, host, path="/"):
        """The name of the pod that answered, None after an error."""
        try:
            if self.connection.sock is None:
                self.closed += 1
                self.connect()
            self.connection.request("GET", path, headers={"Host": host})
            response = self.connection.getresponse()
            body = response.read().decode()
        except (OSError, http.client.HTTPException):
            self.closed += 1
            self.errors += 1
            self.connect()
            return None
        if response.status != 200:
            self.errors += 1
            return None
        return body.partition("pod: ")[2].partition("\n")[0]


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def write(path, text, rename):
    """Writes as an editor does (in place) or as a tool does (renamed into place)."""
    if not rename:
        path.write_text(text)
        return
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.rename(path)


def service(name, namespace="bench", selector=True):
    picked = f"  selector: {{app: {name}}}\n" if selector else ""
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
        f"spec:\n{picked}  ports: [{{name: http, port: 80, targetPort: 8080}}]\n"
    )


def route(name, host, to, namespace="bench", path=""):
    return (
        "apiVersion: route.openshift.io/v1\nkind: Route\n"
        f"metadata: {{name: {name}, namespace: {namespace}}}\n"
        f"spec:\n  host: {host}\n  path: \"{path}\"\n  to: {{kind: Service, name: {to}}}\n"
        "  port: {targetPort: http}\n"
    )


def endpoint_slice(name, to, addresses, namespace="bench"):
    endpoints = "".join(
        f"- {{addresses: [{address}], conditions: {{ready: true}}}}\n" for address in addresses
    )
    return (
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
        f"metadata: {{name: {name}, namespace: {namespace}, "
        f"labels: {{kubernetes.io/service-name: {to}}}}}\n"
        f"addressType: IPv4\nports: [{{name: http, port: 8080, protocol: TCP}}]\nendpoints:\n{endpoints}"
    )
