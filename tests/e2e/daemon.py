"""Starts a real spored in a place of its own and looks for what it leaves behind."""
import atexit
import contextlib
import functools
import glob
import io
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import zipfile

import ttrpc

ROOT = pathlib.Path(__file__).parents[2]
BUILD = pathlib.Path(os.environ.get("SPORE_BUILD", ROOT / "build"))
UIDS = 32 * 65536
UID_RANGES = 450


def find_program(name):
    """The build's program, or the installed one when SPORE_BUILD is 'installed'."""
    if str(BUILD) == "installed":
        found = shutil.which(name)
        assert found, f"{name} is not installed"
        return found
    for folder in ("daemon", "tools"):
        if os.access(BUILD / folder / name, os.X_OK) and (BUILD / folder / name).is_file():
            return str(BUILD / folder / name)
    raise AssertionError(f"no {name} in {BUILD}: build it, or set SPORE_BUILD")


@functools.cache
def helpers():
    """A folder with the daemon's own programs, which a build tree keeps in several."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="spore-e2e-libexec-"))
    atexit.register(shutil.rmtree, folder)
    folder.chmod(0o755)
    for place, name in (("zygote", "spore-zygote"), ("daemon/unpack", "spore-unpack"),
                        ("daemon/egress", "spore-egress")):
        assert (BUILD / place / name).is_file(), f"no {name} in {BUILD / place}: build it"
        (folder / name).symlink_to(BUILD / place / name)
    return str(folder)


def environment():
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SPORE_", "NOTIFY_"))}
    if str(BUILD) != "installed":
        env["SPORE_LIBEXEC"] = os.environ.get("SPORE_LIBEXEC") or helpers()
        env["SPORE_HOSTS"] = os.environ.get("SPORE_HOSTS") or str(BUILD / "zygote/hosts")
    return env


def make_zip(files):
    """A zip of {name: text or bytes}, or of a directory's files. What is in bin/ can be executed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        if isinstance(files, dict):
            for name, content in files.items():
                entry = zipfile.ZipInfo(name)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = (0o755 if name.startswith("bin/") else 0o644) << 16
                archive.writestr(entry, content)
        else:
            for path in sorted(pathlib.Path(files).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    archive.write(path, path.relative_to(files))
    return buffer.getvalue()


def wait_until(condition, seconds=60, what="condition"):
    """Generous: a loaded machine takes its time, and who is done goes on at once."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not reached in {seconds} s: {what}"
        time.sleep(0.02)


def assert_stays(condition, seconds, what="condition"):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), f"did not stay so for {seconds} s: {what}"
        time.sleep(0.02)


def toml_value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return json.dumps(value)


class Completed:
    """What a command ended with."""

    def __init__(self, done):
        self.code, self.raw = done.returncode, done.stdout
        self.out = done.stdout.decode(errors="replace")
        self.err = done.stderr.decode(errors="replace")

    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"exit {self.code}\nstdout: {self.out[-3000:]}\nstderr: {self.err[-3000:]}"


def reserve_uids(first):
    """Which no daemon of another run of the tests has: for as long as the socket is there that stands for them."""
    for at in range(first, first + UID_RANGES):
        holder = socket.socket(socket.AF_UNIX)
        try:
            holder.bind(f"\0e2e-uids-{at % UID_RANGES}")
            return holder, 0x20000000 + at % UID_RANGES * UIDS
        except OSError:
            holder.close()
    raise AssertionError("all ranges of uids are in use")


class Spored:
    """One daemon with socket, state, cgroup name and uid range of its own."""

    count = 0

    def __init__(self, config=None):
        Spored.count += 1
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="spore-e2e-"))
        os.chmod(self.directory, 0o755)
        self.socket = self.directory / "spored.sock"
        self.state = self.directory / "state"
        self.cgroup = f"spore-e2e-{os.getpid()}-{Spored.count}"
        self.uids, self.uid_base = reserve_uids(os.getpid() * 7 + Spored.count)
        self.log = self.directory / "spored.log"
        self.process = None
        self.write_config(config or {})

    def write_config(self, extra):
        images = self.directory / "images"
        images.mkdir(exist_ok=True)
        settings = {
            "socket": str(self.socket),
            "state-dir": str(self.state),
            "runtime-dir": str(self.directory / "run"),
            "cgroup-name": self.cgroup,
            "uid-base": self.uid_base,
            "uid-count": UIDS,
            "checkpoint-after-ms": 0,  # none but those that a test asks for
            "image-dirs": [str(ROOT / "images"), str(images)],
        }
        tables = {k: v for k, v in extra.items() if isinstance(v, dict)}
        settings.update({k: v for k, v in extra.items() if not isinstance(v, dict)})
        lines = [f"{key} = {toml_value(value)}" for key, value in settings.items()]
        for name, table in tables.items():
            lines.append(f"[{name}]")
            lines += [f"{key} = {toml_value(value)}" for key, value in table.items()]
        self.config = self.directory / "spore.toml"
        self.config.write_text("\n".join(lines) + "\n")

    # ---- life ----

    def start(self, extra_environment=None):
        command = [find_program("spored"), "--config", str(self.config), "--socket",
                   str(self.socket), "--state", str(self.state)]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log,
                                            env={**environment(), **(extra_environment or {})})
        wait_until(self._answers, what="spored answers")
        return self

    def _answers(self):
        assert self.process.poll() is None, f"spored ended:\n{self.log_text()}"
        try:
            with self.client() as client:
                return client.call("System", "Info")
        except OSError:
            return None

    def await_eager_images(self):
        """So that a test's first call does not wait for a zygote, and says so (its start kind)."""
        end = time.monotonic() + 60
        while time.monotonic() < end and any(image["state"] == "STARTING"
                                             for image in self.call("Images", "List")["images"]):
            time.sleep(0.02)

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"spored did not stop:\n{self.log_text()}") from None
        return self.process.returncode if self.process else None

    def check_end(self):
        """Ends it, in good order and with nothing left behind."""
        code = self.stop()
        log = self.log_text()
        wait_until(lambda: not self.residue(), what=f"nothing left behind, but: {self.residue()}\n{log}")
        assert code == 0, f"spored ended with {code}:\n{log}"

    @contextlib.contextmanager
    def running(self):
        """Started here; checked at the end, and removed whatever happened."""
        try:
            self.start()
            self.await_eager_images()
            yield self
            self.check_end()
        finally:
            self.stop(9)
            self.remove()

    def remove(self):
        """After a failed test too, the host is left as it was; residue() has looked before."""
        self.uids.close()
        shutil.rmtree(self.directory, ignore_errors=True)
        for top in cgroups_named(self.cgroup):
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass  # somebody is still in it: for scripts/test to find

    def log_text(self):
        return self.log.read_text(errors="replace")[-6000:] if self.log.exists() else ""

    # ---- use ----

    def client(self, timeout=180):
        return ttrpc.Client(self.socket, timeout)

    def call(self, service, method, values=None, fds=()):
        with self.client() as client:
            return client.call(service, method, values or {}, fds)

    def error_of(self, service, method, values=None, fds=()):
        with self.client() as client:
            return client.error_of(service, method, values or {}, fds)

    def cli(self, *args, input=b"", timeout=180, prefix=(), env=None):
        done = subprocess.run(
            [*prefix, find_program("spore"), "--socket", str(self.socket), *map(str, args)],
            input=input, capture_output=True, timeout=timeout, env=env or environment())
        return Completed(done)

    def deploy(self, name, files, handler="app.handler", isolation="ISOLATION_INSTANCE",
               limits=None, runtime="python", image="", environment=None, client=None,
               **settings):
        """Deploys through the socket. `files`: a zip's bytes, {name: content}, or a directory."""
        archive = files if isinstance(files, bytes) else make_zip(files)
        descriptor = ttrpc.sealed_memfd(archive)
        values = {"name": name, "settings": {
            "runtime": runtime, "image": image, "handler": handler, "isolation": isolation,
            "limits": limits or {}, "environment": environment or {}, **settings}}
        try:
            if client:
                return client.call("Functions", "Deploy", values, [descriptor])
            return self.call("Functions", "Deploy", values, [descriptor])
        finally:
            os.close(descriptor)

    def invoke(self, name, event=None, patience=180, **fields):
        """The whole InvokeResponse; `result` holds the parsed payload when there is one."""
        with self.client(patience) as client:
            response = client.call("Invocations", "Invoke", {
                "name": name, "payload": json.dumps(event).encode(), **fields})
        response["result"] = json.loads(response["payload"]) if response["payload"] else None
        return response

    def result(self, name, event=None, **fields):
        response = self.invoke(name, event, **fields)
        assert response["error"] is None, response["error"]
        return response["result"]

    def failure(self, name, event=None, **fields):
        """The function's error, which there must be."""
        response = self.invoke(name, event, **fields)
        assert response["error"], f"succeeded: {response}"
        return response["error"]

    def remove_function(self, name):
        self.call("Functions", "Remove", {"name": name})

    def instances(self, **fields):
        return self.call("Instances", "List", fields)["instances"]

    def death_of(self, identity):
        """How an instance ended, once its end is complete."""
        return wait_until(lambda: (lambda death: death if death and death["usage"] else None)(
            self.call("Instances", "Inspect", {"id": identity})["death"]), what="its death is told")

    def stats(self):
        return self.call("System", "Stats")

    # ---- what is there, and what is left ----

    def tenant_processes(self):
        """{pid: command} of all processes whose uid is of this daemon's range."""
        found = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                status = pathlib.Path("/proc", entry, "status").read_text()
            except OSError:
                continue
            uid = int(re.search(r"^Uid:\s+(\d+)", status, re.M)[1])
            if self.uid_base <= uid < self.uid_base + UIDS:
                found[int(entry)] = re.search(r"^Name:\s+(.*)", status, re.M)[1]
        return found

    def residue(self):
        """Names everything of this daemon that still exists on the host."""
        left = [f"process {pid} ({name})" for pid, name in self.tenant_processes().items()]
        left += [f"cgroup {path}" for path in cgroups_named(self.cgroup)]
        for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
            if str(self.directory) in line:
                left.append(f"mount {line}")
        for line in pathlib.Path("/proc/net/unix").read_text().splitlines():
            if str(self.directory) in line:
                left.append(f"socket {line}")
        if self.socket.exists():
            left.append(f"socket file {self.socket}")
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid() and self._names_us(entry):
                left.append(f"process {entry} with our paths in its arguments or environment")
        return left

    def _names_us(self, pid):
        try:
            arguments = pathlib.Path("/proc", pid, "cmdline").read_bytes()
            return str(self.directory).encode() in arguments
        except OSError:
            return False


def cgroups_named(name):
    """Those of this name at the top of a hierarchy, or one below; others come and go meanwhile."""
    return sorted({path for pattern in (name, f"*/{name}", f"*/*/{name}")
                   for path in glob.glob(f"/sys/fs/cgroup/{pattern}")})


def assert_confined(threads):
    """Of each thread the lines of /proc/self/task/*/status: all have given up the same."""
    for thread in threads:
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert thread[name] == "0000000000000000", thread
        assert thread["NoNewPrivs"] == "1" and thread["Seccomp"] == "2" and thread["Groups"] == ""
        ids = set(thread["Uid"].split()) | set(thread["Gid"].split())
        assert len(ids) == 1 and int(ids.pop()) >= 1000, thread
        assert thread["Seccomp_filters"] == threads[0]["Seccomp_filters"]
