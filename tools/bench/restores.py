#!/usr/bin/python3
"""What checkpoints are worth: restores against loading, and against CRIU alone. Prints JSON, for plot.py.

    tools/bench/restores.py criu      [--samples 5]    warm images of Python, Node and Java, by restore and by loading,
                                                       and `criu restore` of the bare runtimes
    tools/bench/restores.py prefetch  [--samples 5] [--table-mb 500]
                                                       first answer of an image with a table of so much memory, its archive
                                                       not in the page cache: read ahead (checkpoint-prefetch) or not
    tools/bench/restores.py restart   [--samples 3]    a daemon that starts again with five heavy images: when each of
                                                       their functions answers, by restore and by loading

Each starts a spored of its own; samples of both sides alternate. Root. --spored and --spore name the programs; a build tree that
was not installed needs SPORE_LIBEXEC, SPORE_HOSTS and SPORE_IMAGES.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

CRIU = pathlib.Path("/usr/local/lib/spore/criu/usr")
ECHO = {"python": ("app.py", "def handler(event, context):\n    return event\n", "app.handler"),
        "node": ("index.js", "exports.handler = async (event) => event;\n", "index.handler"),
        "java": ("App.java", "public class App { public Object handle(Object event) { return event; } }\n", "App::handle")}


class Daemon:
    """A spored with a state of its own, which may be stopped and started again."""

    def __init__(self, arguments, folder, **settings):
        self.arguments, self.folder = arguments, folder
        self.images = folder / "images"
        self.images.mkdir()
        self.settings = {"socket": str(folder / "spored.sock"), "state-dir": str(folder / "state"),
                         "runtime-dir": str(folder / "run"), "cgroup-name": f"spore-restores-{os.getpid()}",
                         "uid-base": 0x6b000000, "ready-sandboxes": 1, "max-ready-sandboxes": 1,
                         "checkpoint-after-ms": 0, "image-dirs": [str(self.images)], **settings}
        self.socket = folder / "spored.sock"
        self.process = None

    def image(self, name, text=None):
        """From the host's manifests, or with this text; never eager."""
        source = pathlib.Path(os.environ.get("SPORE_IMAGES", "/usr/local/share/spore/images")) / f"{name}.toml"
        lines = [line for line in (text or source.read_text()).splitlines() if not line.startswith("eager")]
        (self.images / f"{name}.toml").write_text("\n".join(lines) + "\n")

    def start(self, **settings):
        self.settings.update(settings)
        lines = [f"{key} = {json.dumps(value)}" for key, value in self.settings.items()]
        (self.folder / "spore.toml").write_text("\n".join(lines) + "\n")
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([self.arguments.spored, "--config", str(self.folder / "spore.toml")],
                                            stdout=log, stderr=log)

    def await_socket(self):
        while subprocess.run([self.arguments.spore, "--socket", str(self.socket), "info"],
                             capture_output=True).returncode != 0:
            if self.process.poll() is not None:
                sys.exit((self.folder / "log").read_text()[-3000:])
            time.sleep(0.01)

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(120)
            self.process = None

    def call(self, *words, check=True):
        done = subprocess.run([self.arguments.spore, "--socket", str(self.socket), *map(str, words)],
                              capture_output=True, text=True)
        if check and done.returncode != 0:
            sys.exit(f"spore {' '.join(map(str, words))}: {done.stderr}{(self.folder / 'log').read_text()[-3000:]}")
        return done.stdout

    def deploy(self, name, runtime, image, code=None):
        file, text, handler = ECHO[runtime]
        code_dir = self.folder / f"code-{name}"
        code_dir.mkdir()
        (code_dir / file).write_text(code or text)
        if runtime == "java":
            subprocess.run(["javac", "-d", code_dir, code_dir / file], check=True, capture_output=True)
        self.call("function", "deploy", name, "--runtime", runtime, "--image", image, "--handler", handler,
                  "--memory", "2G", "--timeout", "120s", code_dir)

    def zygote(self, image):
        found = [z for z in json.loads(self.call("zygote", "ls", "--json")) if z["image"] == image]
        return found[0]

    def archives(self):
        return sorted((self.folder / "state/checkpoints").glob("*/*/memory.tar.zst"))


def median(values):
    return sorted(values)[len(values) // 2]


def drop_from_page_cache(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def summary(samples):
    return {"p50_ms": round(median(samples), 1), "best_ms": round(min(samples), 1),
            "worst_ms": round(max(samples), 1), "samples_ms": [round(s, 1) for s in samples]}


# ---- restores against CRIU alone ----

def criu(*words):
    command = [CRIU / "lib64/ld-linux-x86-64.so.2", "--library-path", CRIU / "lib/x86_64-linux-gnu", CRIU / "sbin/criu"]
    return subprocess.run([*command, *words], capture_output=True, text=True)


BARE = {
    "python": ["/usr/bin/python3", "-S", "-c", "import json, os, sys, time\nprint('up', flush=True)\nwhile True: time.sleep(9)"],
    "node": ["node", "-e", "setInterval(() => {}, 9000); console.log('up')"],
    "java": ["java", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xshare:auto", "Idle"],
}
IDLE = ("public class Idle { public static void main(String[] a) throws Exception {"
        " System.out.println(\"up\"); System.out.flush(); for (;;) Thread.sleep(9000); } }")


class Bare:
    """One runtime without Spore, dumped once by CRIU as root of the host."""

    def __init__(self, runtime, folder):
        self.images = folder / f"bare-{runtime}"
        self.images.mkdir()
        if runtime == "java":
            (folder / "Idle.java").write_text(IDLE)
            subprocess.run(["javac", "-d", folder, folder / "Idle.java"], check=True)
        out = folder / f"bare-{runtime}.out"
        with open(out, "wb") as file, open("/dev/null", "rb") as null:
            process = subprocess.Popen(BARE[runtime], stdin=null, stdout=file, stderr=file, cwd=folder,
                                       start_new_session=True)
        while b"up" not in out.read_bytes():
            time.sleep(0.01)
        time.sleep(0.3)
        self.pid = process.pid
        done = criu("dump", "--tree", str(self.pid), "--images-dir", str(self.images), "--network-lock", "skip")
        process.wait()
        if done.returncode != 0:
            sys.exit(f"criu dump of {runtime}: {done.stdout}{done.stderr}")
        self.bytes = sum(path.stat().st_size for path in self.images.glob("*.img"))

    def restore(self):
        """Milliseconds, or nothing when one of its ids is taken just now."""
        began = time.monotonic()
        done = criu("restore", "--images-dir", str(self.images), "--restore-detached")
        took = (time.monotonic() - began) * 1000
        if done.returncode != 0:
            return None
        os.kill(self.pid, 9)
        while os.path.exists(f"/proc/{self.pid}"):
            time.sleep(0.005)
        return took


def criu_part(log, image):
    """What spored says that CRIU alone took, of its last restore."""
    lines = [line for line in log.read_text().splitlines() if f"image {image}: restored" in line]
    return float(lines[-1].rsplit(" took ", 1)[1].split()[0])


def bench_criu(arguments, folder):
    daemon = Daemon(arguments, folder)
    for image in ECHO:
        daemon.image(image)
    daemon.start()
    daemon.await_socket()
    rows = {image: {"restore": [], "cold": [], "criu": [], "bare": []} for image in ECHO}
    bare = {}
    try:
        for image in ECHO:
            bare[image] = Bare(image, folder)
            daemon.call("zygote", "warm", image)
            daemon.call("checkpoint", "create", image)
        kept = daemon.folder / "state/checkpoints"
        for _ in range(arguments.samples):
            for image, row in rows.items():
                for how in ("restore", "cold"):
                    daemon.call("zygote", "evict", "--force", image)
                    if how == "cold":
                        os.rename(kept / image, kept / f"{image}-away")
                    daemon.call("zygote", "warm", image)
                    if how == "cold":
                        os.rename(kept / f"{image}-away", kept / image)
                    zygote = daemon.zygote(image)
                    expected = {"restore": "START_KIND_RESTORE", "cold": "START_KIND_COLD"}[how]
                    if zygote["start_kind"] != expected:
                        sys.exit(f"{image}: {zygote}")
                    row[how].append(int(zygote["start_us"]) / 1000)
                    if how == "restore":
                        row["criu"].append(criu_part(folder / "log", image))
                took = bare[image].restore()
                if took is not None:
                    row["bare"].append(took)
        listed = {c["image"]: c for c in json.loads(daemon.call("checkpoint", "ls", "--json"))}
        return [{"image": image, **{how: summary(samples) for how, samples in row.items() if samples},
                 "archive_bytes": int(listed[image]["archive_bytes"]),
                 "memory_bytes": int(listed[image]["memory_bytes"]), "bare_bytes": bare[image].bytes}
                for image, row in rows.items()]
    finally:
        daemon.stop()


# ---- a large image, its archive read ahead or not ----

TABLE = """
import random
_random = random.Random(7)
# Half of it can be compressed.
ROWS = [_random.randbytes(1 << 19) + bytes(1 << 19) for _ in range({mb})]
"""
LOOKUP = """
import spore_table
def handler(event, context):
    rows = spore_table.ROWS
    return sum(row[7] for row in rows[::10])
"""


def bench_prefetch(arguments, folder):
    sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests/e2e"))
    import images_of_own
    root = images_of_own.python_root(folder / "root")
    package = root / "usr/lib/python3/dist-packages"
    package.mkdir(parents=True)
    (package / "spore_table.py").write_text(TABLE.format(mb=arguments.table_mb))
    manifest = folder / "table.toml"
    manifest.write_text('runtime = "python"\npreload = ["spore_table"]\n')
    daemon = Daemon(arguments, folder)
    daemon.image("python")
    daemon.start()
    daemon.await_socket()
    rows = {"read ahead": [], "not read ahead": [], "in the page cache": [], "loaded": []}
    criu_ms = []
    try:
        daemon.call("image", "import", "table", "--root", root, "--manifest", manifest)
        daemon.deploy("lookup", "python", "table", LOOKUP)
        daemon.call("zygote", "warm", "table")
        daemon.call("checkpoint", "create", "table")
        daemon.stop()
        archive = daemon.archives()[0]
        for _ in range(arguments.samples):
            for how, samples in rows.items():
                if how != "in the page cache":
                    drop_from_page_cache(archive)
                else:
                    archive.read_bytes()
                if how == "loaded":
                    archive.rename(folder / "away")
                daemon.start(**{"checkpoint-prefetch": how == "read ahead"})
                daemon.await_socket()
                began = time.monotonic()
                daemon.call("invoke", "lookup", "--payload", "1")
                samples.append((time.monotonic() - began) * 1000)
                if how == "loaded":
                    (folder / "away").rename(archive)
                else:
                    criu_ms.append(criu_part(folder / "log", "table@1"))
                daemon.stop()
        return {"table_mb": arguments.table_mb, "archive_bytes": archive.stat().st_size, "criu": summary(criu_ms),
                "rows": [{"name": how, **summary(samples)} for how, samples in rows.items()]}
    finally:
        daemon.stop()


# ---- a daemon that starts again ----

HEAVY = {"python-heavy-1": "python", "python-heavy-2": "python", "node-heavy": "node", "java-heavy-1": "java",
         "java-heavy-2": "java"}


def heavy_manifest(daemon, name, runtime):
    base = "python-numpy" if runtime == "python" else runtime
    daemon.image(base)
    text = (daemon.images / f"{base}.toml").read_text()
    (daemon.images / f"{base}.toml").unlink()
    daemon.image(name, text)


def first_answers(daemon, arguments):
    """Milliseconds from the start of the daemon until each function has answered, all asked at once."""
    began = time.monotonic()
    daemon.start()
    answered = {}

    def ask(name):
        command = [arguments.spore, "--socket", str(daemon.socket), "invoke", name, "--payload", "1"]
        while subprocess.run(command, capture_output=True).returncode != 0:
            time.sleep(0.02)
        answered[name] = (time.monotonic() - began) * 1000

    threads = [threading.Thread(target=ask, args=(f"f-{name}",)) for name in HEAVY]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answered


def bench_restart(arguments, folder):
    daemon = Daemon(arguments, folder)
    for name, runtime in HEAVY.items():
        heavy_manifest(daemon, name, runtime)
    daemon.start()
    daemon.await_socket()
    rows = {how: {f"f-{name}": [] for name in HEAVY} for how in ("restore", "load")}
    kept = daemon.folder / "state/checkpoints"
    try:
        for name, runtime in HEAVY.items():
            daemon.deploy(f"f-{name}", runtime, name)
            daemon.call("zygote", "warm", name)
            daemon.call("checkpoint", "create", name)
        daemon.stop()
        for _ in range(arguments.samples):
            for how, row in rows.items():
                if how == "load":
                    kept.rename(folder / "away")
                for name, took in first_answers(daemon, arguments).items():
                    row[name].append(took)
                daemon.stop()
                if how == "load":
                    shutil.rmtree(kept, ignore_errors=True)
                    (folder / "away").rename(kept)
        return [{"function": name, "restore": summary(rows["restore"][name]), "load": summary(rows["load"][name])}
                for name in rows["restore"]]
    finally:
        daemon.stop()


def main():
    parser = argparse.ArgumentParser(description="What checkpoints are worth.")
    parser.add_argument("what", choices=["criu", "prefetch", "restart"])
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--table-mb", type=int, default=500)
    parser.add_argument("--spored", default="spored")
    parser.add_argument("--spore", default="spore")
    arguments = parser.parse_args()
    bench = {"criu": bench_criu, "prefetch": bench_prefetch, "restart": bench_restart}[arguments.what]
    with tempfile.TemporaryDirectory(prefix="spore-restores-", dir="/var/tmp") as name:
        os.chmod(name, 0o755)
        print(json.dumps({"bench": "restores " + arguments.what, "load": os.getloadavg(),
                          arguments.what: bench(arguments, pathlib.Path(name))}, indent=2))


if __name__ == "__main__":
    main()
