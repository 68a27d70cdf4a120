"""The pods behind every proxy, and the one certificate, for `bench/peers` and `bench/stress`."""

import subprocess

import common
from peer_configs import CLIENT_CORE, HOST, Nginx, pinned

PODS = ["127.78.0.1", "127.78.0.2"]


def certificate(work):
    """One P-256 certificate for all."""
    pem, key, chain = work / "both.pem", work / "key.pem", work / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "30", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    subprocess.run([*command, "-keyout", key, "-out", chain], check=True, stderr=subprocess.DEVNULL)
    pem.write_text(chain.read_text() + key.read_text())
    return chain, key, pem


def start_pods(processes, work, wharf, own):
    """nginx with fixed answers where there is one, since it costs core 1 least; else wharf's pod.

    `own` asks for wharf's, which reads a body before it answers and echoes WebSockets.
    """
    nginx = None if own else Nginx(0).binary()
    if nginx:
        (work / "data").write_bytes(b"d" * 2**20)
        (work / "pod.conf").write_text(
            "daemon off; worker_processes 1; worker_rlimit_nofile 100000; error_log stderr error;\n"
            f"pid {work}/pod.pid; events {{ worker_connections 50000; }}\n"
            f"http {{ access_log off; sendfile on; tcp_nodelay on; client_body_temp_path {work}/pod-body;\n"
            "keepalive_timeout 600s; keepalive_requests 1000000000;\n"
            f"server {{ {' '.join(f'listen {pod}:8080 backlog=4096;' for pod in PODS)} root {work};\n"
            'location / { default_type text/plain; return 200 "hello from the pod of the benchmark\\n"; }\n'
            "location /data { } } }\n"
        )
        command = [nginx, "-e", "stderr", "-p", work, "-c", work / "pod.conf"]
        processes.start(pinned(CLIENT_CORE, command), work / "pod.log")
    else:
        for pod in PODS:
            command = [wharf, "backend", "--listen", f"{pod}:8080"]
            processes.start(pinned(CLIENT_CORE, command), work / f"pod-{pod}.log")
    for pod in PODS:
        common.wait_until(lambda pod=pod: common.answers(pod, 8080, "/"), f"pod {pod}")
