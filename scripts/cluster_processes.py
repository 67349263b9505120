"""The processes of a cluster, its services and its database, for scripts/cluster."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections import Counter

import pymongo

NODES = ["node-1", "node-2", "node-3"]
LOBBIES = ["lobby-1", "lobby-2"]
GATES = ["gate-1", "gate-2"]
ROLE = {"node": "battle", "lobby": "lobby", "gate": "gate"}
PATIENCE = 120
started = time.monotonic()
problems = []


def say(text):
    for line in text.splitlines():
        print(f"{time.monotonic() - started:7.2f}  {line}", flush=True)


def problem(text):
    problems.append(text)
    say(f"PROBLEM  {text}")


def expect(what, is_so):
    if not is_so:
        problem(what)


def wait_for(what, is_so, seconds=PATIENCE, pause=0.05):
    """How long it took; a problem if it does not come to be so."""
    begun = time.monotonic()
    while not is_so():
        if time.monotonic() - begun > seconds:
            problem(f"not within {seconds} s: {what}")
            break
        time.sleep(pause)
    return time.monotonic() - begun


def free_port():
    """One below those that the system gives out itself, so that nobody has it while its owner is dead."""
    while True:
        port = random.SystemRandom().randrange(10_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Etcd:
    """One member or three, whose data stay where they are when they are killed."""

    def __init__(self, folder, members):
        self.folder, self.children = folder, [None] * members
        self.urls = [f"http://127.0.0.1:{free_port()}" for _ in range(members)]
        self.peers = [f"http://127.0.0.1:{free_port()}" for _ in range(members)]
        self.url = ",".join(self.urls)
        self.away = set()

    def start(self, *members):
        for member in members or range(len(self.urls)):
            url, peer = self.urls[member], self.peers[member]
            line = ["etcd", "--name", f"m{member}", "--data-dir", self.folder / f"etcd-{member}"]
            line += ["--listen-client-urls", url, "--advertise-client-urls", url]
            line += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
            line += ["--initial-cluster", ",".join(f"m{n}={peer}" for n, peer in enumerate(self.peers))]
            with open(self.folder / f"etcd-{member}.log", "ab") as log:
                self.children[member] = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            self.away.discard(member)
        wait_for("etcd answers", lambda: all(map(self.answers, self.urls)))

    def answers(self, url):
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=1) as answer:
                return b"true" in answer.read()
        except OSError:
            return False

    def kill(self, *members):
        for member in members or range(len(self.urls)):
            self.children[member].kill()
            self.children[member].wait()
            self.away.add(member)

    def pause(self, *members):
        for member in members or range(len(self.urls)):
            self.children[member].send_signal(signal.SIGSTOP)
            self.away.add(member)

    def resume(self):
        for member in self.away:
            self.children[member].send_signal(signal.SIGCONT)
        self.away.clear()
        wait_for("etcd answers", lambda: all(map(self.answers, self.urls)))

    def alive_first(self):
        """The members, those that are away last: what a command of its own costs to find one out is no time of the cluster's."""
        return ",".join(self.urls[member] for member in sorted(range(len(self.urls)), key=lambda member: member in self.away))

    def control(self, *words):
        words = ["etcdctl", "--endpoints", self.url, *words, "--write-out", "json"]
        ran = subprocess.run(words, env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, text=True, check=True)
        return json.loads(ran.stdout) if ran.stdout.startswith(("[", "{")) else None

    def leader(self):
        for member, told in enumerate(self.control("endpoint", "status")):
            status = told["Status"]
            if status["leader"] == status["header"]["member_id"]:
                return member
        return 0


class Process:
    """A role of the cluster, which may die and be started again under its name."""

    def __init__(self, cluster, name):
        self.cluster, self.name, self.child, self.lives = cluster, name, None, 0
        self.role = name.split("-")[0]
        self.ready_at = None
        # Clients look for a gate where it was.
        self.gate = f"127.0.0.1:{free_port()}" if name in GATES else None

    def start(self):
        self.lives += 1
        self.said = self.cluster.folder / f"{self.name}.{self.lives}.json"
        line = self.cluster.line(ROLE[self.role], "--name", self.name, "--data", f"data-{self.name}")
        environment = dict(self.cluster.environment)
        if self.gate:
            environment["TILTYARD_GATE_LISTEN"] = self.gate
        with open(self.said, "wb") as out, open(self.cluster.folder / f"{self.name}.log", "ab") as log:
            self.child = subprocess.Popen(line, cwd=self.cluster.folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=log)

    def is_up(self):
        if self.child.poll() is not None:
            problem(f"{self.name} ended with {self.child.returncode}: {self.said.read_text()}")
            self.start()
        return self.said.stat().st_size > 0

    def addresses(self):
        return json.loads(self.said.read_text())

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"{self.addresses()['http']}/readyz", timeout=2) as page:
                return page.status == 200
        except (OSError, ValueError):
            return False

    def metric(self, name):
        """The sum of a metric's values; nothing while nobody answers."""
        try:
            with urllib.request.urlopen(f"{self.addresses()['http']}/metrics", timeout=2) as page:
                found = re.findall(rf"^tiltyard_{name}(?:\{{.*\}})? (\d+)$", page.read().decode(), re.MULTILINE)
                return sum(map(int, found))
        except (OSError, ValueError):
            return None

    def kill(self):
        self.child.kill()
        self.child.wait()

    def end(self):
        self.child.terminate()
        try:
            code = self.child.wait(timeout=PATIENCE)
            expect(f"{self.name} ended with {code}", code == 0)
        except subprocess.TimeoutExpired:
            problem(f"{self.name} does not end")
            self.kill()


class Bots:
    """Processes of test clients."""

    def __init__(self, cluster, lines):
        of = {"cwd": cluster.folder, "env": cluster.environment, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.children = [subprocess.Popen(line, text=True, **of) for line in lines]

    def have_ended(self):
        return all(child.poll() is not None for child in self.children)

    def interrupt(self):
        for child in self.children:
            child.send_signal(signal.SIGINT)

    def report(self):
        """The sums of what they counted; nothing of those that got nowhere."""
        sums = Counter()
        for child in self.children:
            said, _ = child.communicate(timeout=600)
            try:
                sums.update({name: value for name, value in json.loads(said).items() if isinstance(value, int)})
            except ValueError:
                sums["nowhere"] += 1
        return sums


class Cluster:
    """All processes, the folder that they work in, and the database that they store in."""

    def __init__(self, program, folder, settings, members):
        self.program, self.folder = program, folder
        self.etcd = Etcd(folder, members)
        name = f"tiltyard-{os.getpid()}"
        self.mongo = pymongo.MongoClient(os.environ["MONGODB_URI"], w="majority", readConcernLevel="majority")
        self.database = self.mongo[name]
        self.processes = {name: Process(self, name) for name in NODES + LOBBIES + GATES}
        self.settings = {
            "cluster.prefix": f"/{name}",
            "keys.file": "keys.toml",
            "store.mongodb": f"{os.environ['MONGODB_URI'].rstrip('/')}/{name}",
            "queue.redis": os.environ["REDIS_URL"],
            **settings,
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TILTYARD_")}
        for place in ["GATE", "HTTP", "CONTROL"]:
            kept[f"TILTYARD_{place}_LISTEN"] = "127.0.0.1:0"
        self.environment = {**kept, "TILTYARD_LOG": "info"}

    def line(self, *words):
        sets = [word for name, value in self.settings.items() for word in ("--set", f"{name}={value}")]
        of_etcd = (
            []
            if words[0] in ("keys", "bots", "replay")
            else ["--etcd", self.etcd.alive_first() if words[0] in ("nodes", "config", "drain") else self.etcd.url]
        )
        return [self.program, "--json", *sets, *words, *of_etcd]

    def ask(self, *words):
        ran = subprocess.run(self.line(*words), cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)
        try:
            return ran.returncode, json.loads(ran.stdout)
        except ValueError:
            return ran.returncode, {"error": ran.stdout + ran.stderr}

    def start(self):
        self.etcd.start()
        code, said = self.ask("keys", "new", "--file", "keys.toml")
        expect(f"keys: {said}", code == 0)
        for process in self.processes.values():
            process.start()
        for process in self.processes.values():
            wait_for(f"{process.name} is up", process.is_up)

    def of(self, names):
        return [self.processes[name] for name in names]

    def bots(self, players, battles, mode):
        """Two groups, each of which looks for another gate first."""
        words = ["--players", str(players // 2), "--battles", str(battles), "--mode", mode]
        gates = [f"ws://{gate.gate}" for gate in self.of(GATES)]
        return Bots(self, [self.line("bots", "--gate", ",".join(order), *words) for order in (gates, gates[::-1])])

    def nodes(self):
        """What an operator is shown."""
        line = [word for word in self.line("nodes") if word != "--json"]
        ran = subprocess.run(line, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)
        return ran.stdout.rstrip()

    def running(self):
        return {node.name: node.metric("node_battles") or 0 for node in self.of(NODES)}

    def busiest(self):
        running = self.running()
        return self.processes[max(running, key=running.get)]

    def listed(self):
        _, all_of_them = self.ask("nodes")
        return {kind: [one["id"] for one in all_of_them.get(kind, [])] for kind in ("nodes", "lobbies", "gates")}

    def battles(self):
        return list(self.database.battles.find({}, {"state": 1, "epoch": 1, "node": 1, "result": 1}))

    def unsettled(self):
        return self.database.battles.count_documents({"state": {"$in": ["placing", "running"]}})

    def end(self):
        for process in self.processes.values():
            if process.child and process.child.poll() is None:
                process.kill()
        for child in filter(None, self.etcd.children):
            child.kill()
            child.wait()
        self.mongo.drop_database(self.database.name)
