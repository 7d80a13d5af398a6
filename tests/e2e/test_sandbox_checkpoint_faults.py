"""Sessions that cannot be put on disk, and what becomes of one when whoever takes part in that ends in the middle."""
import contextlib
import ctypes
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import threading
import time

import daemon
import pytest
import restores
import sandboxes
import ttrpc

SERVICE = "SessionCheckpoints"
POINTS = ["checkpoint-held", "checkpoint-workplace", "checkpoint-dumped"]
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x10000000, 0x20000000
LOOPBACK = """
runtime = "python"
preload = ["socket"]
[policy]
loopback = true
"""


@pytest.fixture(scope="module")
def spored():
    server = daemon.Spored()
    (server.directory / "images/loopback.toml").write_text(LOOPBACK)
    with server.running():
        yield server


@pytest.fixture
def box(spored):
    with sandboxes.sandbox(spored, ttl_ms=600_000, limits={"pids": 128, "memory_bytes": 400 << 20}) as made:
        yield made


def create(box, patience=300):
    with box.spored.client(patience) as client:
        done = client.call(SERVICE, "Create", {"id": box.id, "leave_running": True})
    box.spored.call(SERVICE, "Remove", {"name": done["checkpoint"]["name"]})
    return done


def refused(box):
    with pytest.raises(ttrpc.RpcError) as error:
        create(box)
    return error.value


def status(pid, name):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return re.search(rf"^{name}:\s*(.*)$", text, re.M).group(1)


def processes_of_ours(spored, only_criu=False):
    """Workers of this daemon, and what has become CRIU in a cgroup of it."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            is_worker = (process / "comm").read_text() == "spore-checkpoin\n" and not only_criu
            is_criu = b"/run/spore/criu/" in (process / "cmdline").read_bytes()
            if is_worker and int(status(process.name, "PPid")) == spored.process.pid or (
                    (is_worker or is_criu) and spored.cgroup in (process / "cgroup").read_text()):
                found.append(int(process.name))
        except OSError:
            continue
    return found


class Traces:
    """What of a session nothing may be left of, as it is seen from the host and from inside."""

    def __init__(self, box):
        self.box, self.info = box, box.inspect()
        self.before = self.look()

    def look(self):
        inside = self.box.out("cat /proc/mounts; ls -d /proc/sys /run/spore/checkpoint/* /run/spore/criu/* 2>&1; :")
        return pathlib.Path(f"/proc/{self.info['pid']}/mountinfo").read_text(), inside

    def members(self):
        folder = next(c for c in self.info["cgroups"] if os.path.exists(c + "/cgroup.freeze"))
        events = pathlib.Path(folder, "cgroup.events")  # each of its processes takes a turn to go on
        daemon.wait_until(lambda: "frozen 0" in events.read_text(), what="it goes on")
        return [int(pid) for pid in pathlib.Path(folder, "cgroup.procs").read_text().split()]

    def assert_none(self):
        daemon.wait_until(lambda: not processes_of_ours(self.box.spored), what="nobody works on it")
        assert self.look() == self.before
        for pid in self.members():
            try:
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
                maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
            except OSError:
                continue  # it has ended
            assert "TracerPid:\t0\n" in status, status
            assert not re.search(r"State:\s[tT]", status), status
            assert "CRIUMFD" not in maps


# ---- what cannot be put on disk ----

VFORK = """
import ctypes, os, threading
os.mkfifo('/tmp/fifo')
def spawn():
    libc, actions, pid = ctypes.CDLL(None), ctypes.create_string_buffer(256), ctypes.c_int()
    libc.posix_spawn_file_actions_init(actions)
    libc.posix_spawn_file_actions_addopen(actions, 0, b'/tmp/fifo', 0, 0)
    argv = (ctypes.c_char_p * 2)(b'true', None)
    libc.posix_spawn(ctypes.byref(pid), b'/bin/true', actions, None, argv, None)
    os.waitpid(pid.value, 0)
spawner = threading.Thread(target=spawn); spawner.start()
while b'clone' and not any(open(f'/proc/self/task/{t}/stat').read().split()[2] == 'D'
                           for t in os.listdir('/proc/self/task')): pass
"""

REFUSED = {
    "a program in the middle of vfork": (
        VFORK, r"middle of vfork\(2\): interpreter", "open('/tmp/fifo', 'w').close() or spawner.join()", ""),
    "a TCP connection": (
        "import socket\nlistener = socket.create_server(('127.0.0.1', 0))\n"
        "near = socket.create_connection(listener.getsockname()); far, _ = listener.accept()",
        "TCP connection", "near.send(b'x') + len(far.recv(1)) == 2 and (near.close(), far.close())", "loopback"),
    "a file of /proc": (
        "status = open('/proc/self/status')", "file of /proc", "len(status.read()) > 0 and status.close()", ""),
    "descriptors on their way": (
        "import socket\nnear, far = socket.socketpair(); socket.send_fds(near, [b'x'], [0])",
        "descriptors are on their way", "len(socket.recv_fds(far, 1, 1)[1]) == 1 and near.close()", ""),
    "a thread with descriptors of its own": (
        "import ctypes, mmap\nlibc = ctypes.CDLL(None)\n"
        "semaphore = ctypes.create_string_buffer(64); libc.sem_init(semaphore, 0, 0)\n"
        "stack = mmap.mmap(-1, 65536); top = ctypes.addressof(ctypes.c_char.from_buffer(stack)) + 65536\n"
        # CLONE_VM, CLONE_FS, CLONE_SIGHAND, CLONE_THREAD
        "own = libc.clone(ctypes.cast(libc.sem_wait, ctypes.c_void_p), ctypes.c_void_p(top), 0x10b00, semaphore)\n"
        "assert own > 0",
        "table of descriptors of its own",
        "import os, time\nlibc.sem_post(semaphore)\nwhile os.path.exists(f'/proc/self/task/{own}'): time.sleep(0.01)", ""),
    "a name that was removed of a file with others": (
        "import os\nheld = open('/tmp/one', 'w'); os.link('/tmp/one', '/tmp/two'); os.unlink('/tmp/one')",
        "has other names", "held.write('x') and held.close()", ""),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_it_says_what_cannot_be_kept_and_goes_on(spored, name):
    code, words, undo, image = REFUSED[name]
    with sandboxes.sandbox(spored, ttl_ms=600_000, image=image) as box:
        box.value(code + "\n0")
        traces = Traces(box)
        for _ in range(2):
            error = refused(box)
            assert error.code in (8, 9) and re.search(words, error.message), error
            assert "has ended" not in error.message
            traces.assert_none()
        box.code(undo)
        create(box)
        traces.assert_none()


def start_in(info, *command, below=False):
    """A process of the host's in the session's cgroups, pid and mount namespaces, as nsenter(1) would make it;
    `below`: in a pid namespace of its own within that, in the host's mounts."""
    libc = ctypes.CDLL(None, use_errno=True)

    def go():
        for folder in info["cgroups"]:
            pathlib.Path(folder, "cgroup.procs").write_text("0")
        pidfd = os.pidfd_open(info["pid"])
        assert libc.setns(pidfd, CLONE_NEWPID | (CLONE_NEWUSER if below else 0)) == 0
        if os.fork() == 0:
            if below:
                assert libc.unshare(CLONE_NEWPID) == 0
                if os.fork() > 0:
                    os.execv(command[0], command)
            else:
                assert libc.setns(pidfd, CLONE_NEWNS) == 0
            os.execv(command[0], command)
        os._exit(0)

    child = os.fork()
    if child == 0:
        go()
    os.waitpid(child, 0)


def test_a_program_that_is_nobodys_child_is_named(box):
    traces = Traces(box)
    known = set(traces.members())
    start_in(traces.info, "/bin/sleep", "1000")
    daemon.wait_until(lambda: [restores.status(pid, "Name") for pid in set(traces.members()) - known] == ["sleep"],
                      what="it is there")
    error = refused(box)
    assert error.code == 9 and "not started by its agent: sleep" in error.message, error
    traces.assert_none()
    for pid in set(traces.members()) - known:
        os.kill(pid, signal.SIGKILL)


# ---- a CRIU that was taken over by what it dumps ----

GOES_ON, LOST = 0, 2


@pytest.fixture(scope="module")
def hostile():
    with restores.hostile_criu() as usr:
        yield usr


@pytest.fixture
def restored(hostile):
    """A session whose only process a hostile CRIU has made, which listens at /tmp/backlog: (Empty, its restore)."""
    server = daemon.Spored()
    with server.running():
        empty = restores.Empty(server)
        # One thread without anything: a header, then an entry of a length, of one field of the first kind.
        core = b"\x11\x22\x33\x44\x55\x66\x77\x88" + struct.pack("<I", 2) + b"\x08\x01"
        done = restores.restore(empty, hostile, {"core-50.img": core, "mode": b"listens"})
        assert done.error == "" and len(done.fds) == 2, done
        yield empty, done
        for fd in done.fds:
            os.close(fd)
        empty.end()


def dump(restored, hostile, mode):
    """(fate, error)"""
    empty, done = restored
    with restores.checkpoint_files(empty.uid, {"mode": mode}, {}) as made:
        _, message, _ = restores.work("checkpoint", done.fds[0], made, hostile, [
            f"uid={empty.inner_uid}", f"agent={restores.NUMBER}", "leave-running", "limit-ms=60000",
            *(f"cgroup={path}" for path in empty.cgroups)])
    return struct.unpack_from("<I", message, 4)[0], message[8:520].split(b"\0")[0].decode()


def test_what_such_a_criu_has_not_touched_goes_on(restored, hostile):
    for _ in range(2):
        fate, error = dump(restored, hostile, b"nothing")
        assert fate == GOES_ON and error, error
    answer = os.dup(restored[1].fds[1])
    with socket.socket(fileno=answer) as agent:
        agent.settimeout(60)
        agent.send(b"x")
        assert agent.recv(100) == b"EPERM\n"


def test_what_such_a_criu_sends_to_the_session_is_never_received(restored, hostile):
    fate, error = dump(restored, hostile, b"sends")
    assert fate == LOST and "descriptors are on their way" in error, error


def test_what_has_come_below_the_session_is_seen(restored, hostile):
    empty, _ = restored
    tmp = pathlib.Path(f"/proc/{empty.init}/root/tmp")
    told = []
    asking = threading.Thread(target=lambda: told.append(dump(restored, hostile, b"waits")))
    asking.start()
    daemon.wait_until((tmp / "waits").exists, what="CRIU runs")
    known = empty.processes()
    start_in({"cgroups": empty.cgroups, "pid": empty.init}, "/bin/sleep", "1000", below=True)
    daemon.wait_until(lambda: [restores.status(pid, "Name") for pid in empty.processes() - known] == ["sleep"] * 2,
                      what="it is there")
    (tmp / "waits").unlink()
    asking.join(120)
    fate, error = told[0]
    assert fate == LOST and "a pid namespace of its own: sleep" in error, error


# ---- those that make it hard ----

BUSY = {
    "forks": "import subprocess\nsubprocess.Popen(['sh', '-c', 'while :; do true | /bin/true & wait; done'])",
    "threads": "import threading\ndef work():\n while True:\n  t = threading.Thread(target=int); t.start(); t.join()\n"
               "for _ in range(2): threading.Thread(target=work, daemon=True).start()",
    "vforks": "import threading, subprocess\ndef work():\n while True: subprocess.run(['/bin/true'])\n"
              "threading.Thread(target=work, daemon=True).start()",
    "signals": "import signal, subprocess\n"
               "subprocess.Popen(['sh', '-c', 'trap : USR1; while :; do kill -USR1 $$; done'])",
}


@pytest.mark.parametrize("how", list(BUSY))
def test_of_one_that_never_stands_still(box, how):
    box.value(BUSY[how] + "\nx = 7")
    traces = Traces(box)
    for _ in range(3):
        create(box)
        assert box.value("x") == "7"
    daemon.wait_until(lambda: traces.look() == traces.before, what="nothing is left in it")
    nothing_left(box.spored)


def test_one_that_has_little_of_a_processor_is_dumped_or_goes_on(spored):
    """Many busy programs, of which each needs a turn before it stops."""
    limits = {"pids": 128, "memory_bytes": 400 << 20, "cpu_millis": 10}
    with sandboxes.sandbox(spored, ttl_ms=600_000, limits=limits) as box:
        box.detach("sh", "-c", "for i in $(seq 8); do (while :; do :; done) & done; wait")
        before = box.inspect()["pid"]
        try:
            create(box)
        except ttrpc.RpcError as error:
            assert error.code in (8, 9) and "has ended" not in error.message, error
        assert box.inspect()["pid"] == before
        daemon.wait_until(lambda: not processes_of_ours(spored), what="nobody works on it")


def test_one_that_is_stopped_stays_so(box):
    box.value("import os, signal, subprocess\nsleeper = subprocess.Popen(['sleep', '1000'])\n"
              "sleeper.send_signal(signal.SIGSTOP)\nos.waitpid(sleeper.pid, os.WUNTRACED)\n0")
    state = "open(f'/proc/{sleeper.pid}/stat').read().split()[2]"
    assert box.value(state) == "'T'"
    create(box)
    assert box.value(state) == "'T'"


# ---- who ends in the middle ----

def live(spored):
    return [session["id"] for session in spored.call("Sandboxes", "List", {})["sessions"]]


def nothing_left(spored):
    daemon.wait_until(lambda: not processes_of_ours(spored), what="nobody works on a session")
    assert spored.call(SERVICE, "List", {})["checkpoints"] == []


@pytest.mark.parametrize("how", ["fail", "kill"])
@pytest.mark.parametrize("point", POINTS)
def test_the_worker_ends_anywhere(point, how):
    server = daemon.Spored()
    try:
        server.start({"SPORE_FAULT": f"{point}:{how}"})
        with sandboxes.sandbox(server, ttl_ms=600_000) as box:
            box.value("x = [1]")
            box.detach("sleep", "1000")
            traces = Traces(box)
            for leave_running in (True, False):
                error = box.spored.error_of(SERVICE, "Create", {"id": box.id, "leave_running": leave_running})
                nothing_left(server)
                if how == "kill":
                    # What it held ends with it.
                    assert error.code in (9, 13) and "has ended" in error.message, error
                    daemon.wait_until(lambda: live(server) == [], what="the session has ended")
                    break
                assert error.code == 13 and "has ended" not in error.message, error
                traces.assert_none()
                assert box.value("x.append(1) or x[0]") == "1"
    finally:
        server.stop()
        server.remove()


class Creating(threading.Thread):
    def __init__(self, box):
        super().__init__()
        self.box, self.error = box, None
        self.start()

    def run(self):
        try:
            create(self.box)
        except (ttrpc.RpcError, OSError) as error:
            self.error = error


def create_slowly(box, only_criu=False):
    """One that takes a while: much memory. Who asks, and the first of ours; None: it was over before it was seen."""
    box.value("import os; big = os.urandom(150 << 20); x = 1")
    asking = Creating(box)
    found = daemon.wait_until(lambda: processes_of_ours(box.spored, only_criu) or not asking.is_alive(), what="it runs")
    return asking, None if found is True else found[0]


def kill(pid):
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def goes_on_or_has_ended(box, asking, look, value):
    """Whatever was killed meanwhile: the session is as it was, or it has ended, and that was said."""
    asking.join(300)
    if asking.error and "has ended" in str(asking.error):
        daemon.wait_until(lambda: live(box.spored) == [], what="the session has ended")
    else:
        assert box.value(look) == value
        box.kill()
    nothing_left(box.spored)


@pytest.mark.parametrize("delay", [0, 0.02, 0.05, 0.08, 0.12, 0.2])
def test_the_worker_is_killed_at_random_times(spored, delay):
    box = sandboxes.create(spored, limits={"memory_bytes": 400 << 20})
    asking, worker = create_slowly(box)
    time.sleep(delay)
    kill(worker)
    goes_on_or_has_ended(box, asking, "x, len(big)", "(1, 157286400)")


@pytest.mark.parametrize("delay", [0, 0.03, 0.06, 0.09, 0.12])
def test_criu_is_killed_at_random_times(spored, delay):
    box = sandboxes.create(spored, limits={"memory_bytes": 400 << 20})
    asking, criu = create_slowly(box, only_criu=True)
    time.sleep(delay)
    kill(criu)
    goes_on_or_has_ended(box, asking, "x, len(big)", "(1, 157286400)")


@pytest.mark.parametrize("delay", [0, 0.03, 0.06, 0.1])
def test_the_session_is_killed_meanwhile(spored, delay):
    box = sandboxes.create(spored, limits={"memory_bytes": 400 << 20})
    asking, _ = create_slowly(box)
    time.sleep(delay)
    try:
        box.kill()
    except ttrpc.RpcError as error:
        assert error.code == 9, error
    asking.join(300)
    daemon.wait_until(lambda: live(spored) == [], what="the session has ended")
    nothing_left(spored)


@pytest.mark.parametrize("delay", [0, 0.03, 0.06, 0.1])
def test_a_program_of_it_is_killed_meanwhile(spored, delay):
    """By somebody outside: the session goes on with the others, or it has ended, and that is said."""
    box = sandboxes.create(spored, limits={"memory_bytes": 400 << 20})
    seconds = f"12345.{os.getpid()}"  # no other run's
    box.value(f"import subprocess; sleeper = subprocess.Popen(['sleep', '{seconds}'])\n0")
    sleeper = int(subprocess.run(["pgrep", "-f", f"^sleep {seconds}$"], capture_output=True, text=True).stdout)
    asking, _ = create_slowly(box)
    time.sleep(delay)
    kill(sleeper)
    goes_on_or_has_ended(box, asking, "x, sleeper.wait(60)", "(1, -9)")


def test_kill_9_of_spored_leaves_nothing():
    server = daemon.Spored()
    try:
        server.start()
        box = sandboxes.create(server, limits={"memory_bytes": 400 << 20})
        asking, _ = create_slowly(box)
        time.sleep(0.05)
        working = processes_of_ours(server)
        server.stop(signal.SIGKILL)
        asking.join(60)
        daemon.wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in working),
                          what="nobody works on a session")
        server.start()
        assert live(server) == [] and server.call(SERVICE, "List", {})["checkpoints"] == []
    finally:
        server.stop()
        server.remove()


def test_files_as_large_as_may_be(spored):
    with sandboxes.sandbox(spored, ttl_ms=600_000, limits={"tmp_bytes": 64 << 20}) as box:
        traces = Traces(box)
        box.out("head -c 62914560 /dev/zero | tr '\\0' x > /tmp/large")
        create(box)
        assert box.out("tail -c 1 /tmp/large; wc -c < /tmp/large") == "x62914560\n"
        traces.assert_none()
