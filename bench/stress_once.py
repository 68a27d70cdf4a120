"""R-24 for `bench/stress`: no request that is not idempotent is executed twice."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from peer_configs import CLIENT_CORE, HOST, HTTP, answers, pinned

SCRIPT = Path(__file__).resolve().with_name("stress_pod.py")
PODS = ["127.78.0.1", "127.78.0.2", "127.78.0.3", "127.78.0.4"]
DROP = 0.002
PAUSE_SECONDS = (0.05, 0.3)


class Pods:
    """Pods that are killed at random and start again."""

    def __init__(self, processes, work):
        self.processes, self.work, self.children, self.kills = processes, work, {}, 0
        for pod in PODS:
            self.start(pod)

    def start(self, pod):
        command = [sys.executable, SCRIPT, "pod", "--listen", f"{pod}:8080"]
        command += ["--record", self.work / f"executed-{pod}", "--drop", DROP]
        log = self.work / f"pod-{pod}.log"
        self.children[pod] = self.processes.start(pinned(CLIENT_CORE, command), log)

    def kill_one(self):
        """By SIGKILL, in whatever it is doing; it is back a moment later."""
        pod = random.choice(PODS)
        self.children[pod].kill()
        self.children[pod].wait()
        self.processes.children.remove(self.children[pod])
        self.start(pod)
        self.kills += 1

    def executed(self):
        """How often each id was."""
        ids = Counter()
        for pod in PODS:
            ids.update((self.work / f"executed-{pod}").read_text().split())
        return ids


def run(bed, options):
    """True when it holds; prints the figures."""
    pods = Pods(bed.processes, bed.work)
    router = bed.router(PODS)
    listed = bed.work / "answered"
    command = [sys.executable, SCRIPT, "client", "--address", router.address, "--port", HTTP, "--host", HOST]
    command += ["--count", options.count, "--connections", options.connections, "--answered", listed]
    began = time.monotonic()
    client = subprocess.Popen(pinned(CLIENT_CORE, command), stdout=subprocess.PIPE)
    while client.poll() is None:
        time.sleep(random.uniform(*PAUSE_SECONDS))
        pods.kill_one()
    outcomes = json.loads(client.stdout.read())
    executed, answered = pods.executed(), set(listed.read_text().split())
    twice = [number for number, times in executed.items() if times > 1]
    invented = answered - set(executed)
    print(
        f"once: {options.count} POSTs with an id each in {time.monotonic() - began:.0f} s, {pods.kills} pods "
        f"killed, {DROP:.1%} executed and not answered: outcomes {outcomes}; executed {len(executed)}, "
        f"twice {len(twice)}, answered with 200 but not executed {len(invented)}"
    )
    healthy = router.alive() and answers(router.address)
    return not twice and not invented and sum(outcomes.values()) == options.count and healthy
