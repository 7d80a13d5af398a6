#!/usr/bin/python3
"""How many isolated sandboxes can wait on this host, what each takes of it, and whether they work.

    tools/bench/idle_sandboxes.py [--count 10000] [--requests 100] [--spored PROGRAM] [--spore PROGRAM]

Starts a spored of its own that makes COUNT spare sandboxes (spare-sandboxes in spore.toml(5)), each with namespaces,
cgroup, uid and a copy of the zygote in it; weighs them; sends REQUESTS calls, each of which one of them serves; prints JSON.
Root. A build tree that was not installed needs SPORE_LIBEXEC, SPORE_HOSTS and SPORE_IMAGES.
"""
import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

HANDLER = "import os\ndef handler(event, context):\n    return {'uid': os.getuid(), 'n': event['n']}\n"


def field(path, key):
    """Bytes of a line such as "Pss:   12 kB"; 0 where there is none."""
    try:
        lines = pathlib.Path(path).read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key)), 0)


# What the kernel tells of its own memory. The rest of what is taken is users' memory, and pages that it counts nowhere.
OF_THE_KERNEL = {"slab": "Slab:", "stacks": "KernelStack:", "page_tables": "PageTables:", "percpu": "Percpu:"}


def host_memory():
    names = {"available": "MemAvailable:", "users": "AnonPages:", **OF_THE_KERNEL}
    return {name: field("/proc/meminfo", key) for name, key in names.items()}


class Daemon:
    def __init__(self, arguments, folder):
        self.spore, self.folder = arguments.spore, folder
        self.socket, self.cgroup = folder / "spored.sock", f"spore-idle-{os.getpid()}"
        config = folder / "spore.toml"
        config.write_text(f"""
socket = "{self.socket}"
state-dir = "{folder}/state"
runtime-dir = "{folder}/run"
cgroup-name = "{self.cgroup}"
uid-base = {0x6a000000}
ready-sandboxes = 0
max-ready-sandboxes = 0
spare-sandboxes = {arguments.count}
max-instances = {arguments.count + 100}
checkpoint-after-ms = 0
""" + (f'image-dirs = ["{os.environ["SPORE_IMAGES"]}"]\n' if "SPORE_IMAGES" in os.environ else ""))
        self.log = open(folder / "log", "wb")
        self.process = subprocess.Popen([arguments.spored, "--config", str(config)], stdout=self.log,
                                        stderr=self.log)
        while not self.socket.exists():
            if self.process.poll() is not None:
                sys.exit((folder / "log").read_text())
            time.sleep(0.02)

    def call(self, *words, check=True):
        done = subprocess.run([self.spore, "--socket", str(self.socket), *map(str, words)],
                              capture_output=True, text=True)
        if check and done.returncode != 0:
            sys.exit(f"spore {' '.join(map(str, words))}: {done.stderr}{(self.folder / 'log').read_text()[-3000:]}")
        return done.stdout

    def stats(self):
        return json.loads(self.call("stats", "--json"))

    def stop(self):
        self.process.terminate()
        self.process.wait(300)


def waiting_processes(group):
    """Of each sandbox's cgroup the processes."""
    for hierarchy in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory", "/sys/fs/cgroup"):
        top = pathlib.Path(hierarchy) / group
        if top.is_dir():
            break
    for procs in top.rglob("cgroup.procs"):
        if procs.parent.name.startswith("s") and procs.parent.name[1:].isdigit():
            yield procs.parent.name, [int(pid) for pid in procs.read_text().split()]


def weigh(group):
    """Medians of a sample: an exact sum over all would take minutes."""
    sandboxes = list(waiting_processes(group))
    sample = random.sample(sandboxes, min(200, len(sandboxes)))
    pss = sorted(sum(field(f"/proc/{pid}/smaps_rollup", "Pss:") for pid in pids) for _, pids in sample)
    tables = sorted(sum(field(f"/proc/{pid}/status", "VmPTE:") for pid in pids) for _, pids in sample)
    middle = lambda values: sorted(values)[len(values) // 2] if values else None  # noqa: E731
    return {"sandboxes_seen": len(sandboxes), "processes_each": middle([len(pids) for _, pids in sample]),
            "pss_bytes_each": middle(pss), "page_table_bytes_each": middle(tables)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--spored", default="spored")
    parser.add_argument("--spore", default="spore")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="idle-sandboxes-") as name:
        folder = pathlib.Path(name)
        (folder / "code").mkdir()
        (folder / "code/app.py").write_text(HANDLER)
        daemon = Daemon(arguments, folder)
        try:
            daemon.call("zygote", "warm", "python")
            before, began = host_memory(), time.monotonic()
            halfway = None
            while (there := daemon.stats()["sandboxes_spare"]) < arguments.count:
                if halfway is None and there >= arguments.count / 2:
                    halfway = time.monotonic() - began
                time.sleep(0.5)
            made = time.monotonic() - began
            time.sleep(2)
            after = host_memory()
            report = {"count": arguments.count, "seconds_to_make": round(made, 1),
                      "seconds_to_half": round(halfway or made, 1),
                      "host_bytes_each": {name: abs(after[name] - before[name]) // arguments.count
                                          for name in before}}
            report.update(weigh(daemon.cgroup))
            report["daemon_descriptors"] = len(os.listdir(f"/proc/{daemon.process.pid}/fd"))
            report["daemon_pss_bytes"] = field(f"/proc/{daemon.process.pid}/smaps_rollup", "Pss:")
            daemon.call("function", "deploy", "works", folder / "code", "--runtime", "python", "--handler",
                        "app.handler", "--isolation", "invocation")
            uids, times = set(), []
            for n in range(arguments.requests):
                begin = time.monotonic()
                answer = json.loads(daemon.call("invoke", "works", "--payload", json.dumps({"n": n})))
                times.append(time.monotonic() - begin)
                assert answer["n"] == n, answer
                uids.add(answer["uid"])
            report["requests_answered"], report["uids_seen"] = len(times), len(uids)
            report["command_p50_ms"] = round(sorted(times)[len(times) // 2] * 1000, 2)
            begin = time.monotonic()
        finally:
            daemon.stop()
        report["seconds_to_end"] = round(time.monotonic() - begin, 1)
        top = pathlib.Path("/sys/fs/cgroup")
        report["cgroups_left"] = [str(left) for left in (*top.glob(daemon.cgroup), *top.glob(f"*/{daemon.cgroup}"))]
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
