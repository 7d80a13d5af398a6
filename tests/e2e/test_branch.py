"""Branches of sessions: what is copied, what is not shared, and what refuses."""
import os
import threading
import time

import daemon
import pytest
import sandboxes
import ttrpc

SPORED_CONFIG = {"max-instances": 24}


@pytest.fixture
def box(spored):
    with sandboxes.sandbox(spored, ttl_ms=600_000) as made:
        yield made


class Branched(list):
    """Branches of a session, ended together."""

    def __init__(self, box, **fields):
        self.response = box.call("Branch", **fields)
        super().__init__(sandboxes.Sandbox(box.spored, s["id"]) for s in self.response["sessions"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for branch in self:
            try:
                branch.kill()
            except ttrpc.RpcError:
                pass


def branch(box, **fields):
    return Branched(box, **fields)


def host_status(spored, box):
    """/proc/PID/status of the session's interpreter, as the host sees it."""
    agent = box.inspect()["pid"]
    children = open(f"/proc/{agent}/task/{agent}/children").read().split()
    lines = open(f"/proc/{children[0]}/status").read().splitlines()
    return int(children[0]), {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_state_is_copied_and_then_apart(spored, box):
    box.code("import os\na = list(range(100_000)); d = {'x': a}; pid = os.getpid()")
    with branch(box) as (copy,):
        assert copy.value("len(a), d['x'] is a, os.getpid() == pid") == "(100000, True, True)"
        copy.code("a.append(1); b = 'of the copy'")
        box.code("b = 'of the source'")
        assert box.value("len(a), b") == "(100000, 'of the source')"
        assert copy.value("len(a), b") == "(100001, 'of the copy')"
        info = copy.inspect()
        assert info["branched_from"] == box.id and info["state"] == "RUNNING"
        assert copy.id in spored.cli("sandbox", "ls", "-q").out.split()
        # A branch of a branch.
        with branch(copy) as (second,):
            assert second.value("len(a), b") == "(100001, 'of the copy')"


def test_several_at_once(spored, box):
    box.code("x = []")
    done = spored.cli("sandbox", "branch", "-n", "3", "--name", "try", "--ttl", "60s", box.id)
    assert done.code == 0, done
    copies = [sandboxes.Sandbox(spored, identity) for identity in done.out.split()]
    assert len(copies) == 3
    for i, copy in enumerate(copies):
        copy.code(f"x.append({i})")
        assert copy.inspect()["label"] == "try"
    assert [copy.value("x") for copy in copies] == ["[0]", "[1]", "[2]"]
    assert box.value("x") == "[]"
    assert len({copy.inspect()["uid"] for copy in copies + [box]}) == 4
    for copy in copies:
        copy.kill()


def test_it_is_confined_as_any_other(spored, box):
    box.code("import os, socket, ctypes")
    with branch(box) as (copy,):
        pid, status = host_status(spored, copy)
        source_pid, source = host_status(spored, box)
        uid = str(copy.inspect()["uid"])
        assert status["Uid"].split() == [uid] * 4 and source["Uid"].split() != [uid] * 4
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert status["Seccomp_filters"] == source["Seccomp_filters"]
        assert status["TracerPid"] == source["TracerPid"] == "0"
        for kind in ("pid", "mnt", "ipc", "uts", "net", "cgroup"):
            assert os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/{source_pid}/ns/{kind}"), kind
        # seccomp, Landlock and the mounts, asked from inside.
        tried = copy.value("import os\ndef tries(f, *a):\n    try: f(*a); return 'done'\n"
                           "    except OSError as e: return e.errno\n"
                           "libc = ctypes.CDLL(None, use_errno=True)\n"
                           "(libc.unshare(0x10000000), tries(open, '/usr/x', 'w'), tries(open, '/tmp/x', 'w'),"
                           " tries(os.kill, 1, 9), tries(os.setuid, 0))")
        assert tried.startswith("(-1, ") and tried.split(", ")[1] != "'done'" and tried.split(", ")[2] == "'done'"
        assert tried.endswith(" 1)"), tried


def test_files_are_copied(spored, box):
    box.out("mkdir -p /tmp/d/e; echo one > /tmp/d/a; ln /tmp/d/a /tmp/d/b; ln -s ../a /tmp/d/e/l; chmod 640 /tmp/d/a;"
            "mkfifo /tmp/f; truncate -s 30M /tmp/holes; echo two > /dev/shm/s; touch -d @1000 /tmp/old; chmod 500 /tmp/d/e")
    for with_interpreter in (False, True):
        if with_interpreter:
            box.code("1")
        with branch(box) as (copy,):
            assert copy.out("cat /tmp/d/b /tmp/d/e/l /dev/shm/s") == "one\none\ntwo\n"
            assert copy.out("stat -c %a%h /tmp/d/a; stat -c %a /tmp/d/e; stat -c %Y /tmp/old; stat -c %b /tmp/holes; test -p /tmp/f; "
                            "stat -c %U /tmp/d/a") == box.out(
                "stat -c %a%h /tmp/d/a; stat -c %a /tmp/d/e; stat -c %Y /tmp/old; stat -c %b /tmp/holes; test -p /tmp/f; "
                "stat -c %U /tmp/d/a")
            copy.out("echo three > /tmp/d/a; rm /dev/shm/s")
            assert box.out("cat /tmp/d/a /dev/shm/s") == "one\ntwo\n"


def test_a_branch_of_a_session_without_code(spored, box):
    box.write("/tmp/x", b"x")
    with branch(box) as (copy,):
        assert copy.read("/tmp/x")["data"] == b"x"
        assert copy.value("1 + 1") == "2"


def test_programs_of_a_session_without_code(spored, box):
    number = box.detach("sleep", "602")
    with branch(box) as (copy,):
        copy.call("SignalExec", exec_id=number, signal=15)
        assert copy.call("WaitExec", exec_id=number, wait_ms=60_000)["signal"] == 15
    with branch(box, only_interpreter=True) as (copy,):
        assert copy.out("echo x") == "x\n"
        assert [e["args"][0] for e in copy.call("ListExecs")["execs"]] == ["sh"]
    assert box.call("ListExecs")["execs"][0]["state"] == "RUNNING"
    box.call("SignalExec", exec_id=number, signal=9)


def test_an_interpreter_of_another_language(spored):
    with sandboxes.sandbox(spored, image="node", limits={"memory_bytes": 512 << 20}) as box:
        box.write("/tmp/x", b"x")
        with branch(box) as (copy,):
            assert copy.read("/tmp/x")["data"] == b"x"
        box.code("let heap = {a: 1}, ticks = 0; setInterval(() => ticks++, 10)")
        with branch(box, copies=2) as (copy, other):
            copy.code("heap.a = 2")
            assert (copy.value("heap.a"), other.value("heap.a"), box.value("heap.a")) == ("2", "1", "1")
            before = int(copy.value("ticks"))
            daemon.wait_until(lambda: int(copy.value("ticks")) > before, what="its timer goes on")
            assert copy.inspect()["branched_from"] == box.id and copy.inspect()["restored_from"] == ""
            assert copy.value("Math.random()") != other.value("Math.random()")
        error = box.error("Branch", only_interpreter=True)
        assert error.code == 9 and "javascript" in error.message


def test_open_files(spored, box):
    box.code("import os\n"
             "f = open('/tmp/f', 'w+'); f.write('hello'); f.flush(); f.seek(2)\n"
             "d = os.dup(f.fileno())\n"
             "a = open('/tmp/log', 'a'); a.write('1'); a.flush()\n"
             "u = open('/tmp/gone', 'w+'); u.write('unnamed'); u.flush(); u.seek(3); os.unlink('/tmp/gone')\n"
             "h = os.open('/usr', os.O_PATH | os.O_DIRECTORY)\n"
             "z = open('/dev/zero', 'rb')")
    with branch(box) as (copy,):
        assert copy.value("f.read(), os.lseek(d, 0, 1), u.read(), z.read(2), os.stat(h).st_mode > 0") == \
            "('llo', 5, 'amed', b'\\x00\\x00', True)"
        copy.code("a.write('2'); a.flush(); f.write('X'); f.flush()")
        assert copy.value("open('/tmp/log').read()") == "'12'"
        assert box.value("open('/tmp/log').read(), f.read(), open('/tmp/f').read()") == "('1', 'llo', 'hello')"


def test_pipes_and_the_like(spored, box):
    box.code("import os, socket, select, selectors, asyncio\n"
             "r, w = os.pipe(); os.write(w, b'in the pipe')\n"
             "s, t = socket.socketpair(); s.send(b'to t')\n"
             "e = os.eventfd(3) if hasattr(os, 'eventfd') else None\n"
             "p = select.epoll(); p.register(r, select.EPOLLIN)\n"
             "loop = asyncio.new_event_loop()")
    with branch(box) as (copy,):
        assert copy.value("os.read(r, 100), t.recv(100), os.eventfd_read(e) if e else 3, p.poll(0)") == \
            "(b'in the pipe', b'to t', 3, [])"
        assert copy.value("os.write(w, b'new'), [fd == r for fd, _ in p.poll(1)]") == "(3, [True])"
        assert copy.value("loop.run_until_complete(asyncio.sleep(0.01, 'slept'))") == "'slept'"
        # None of it is the source's.
        assert box.value("os.read(r, 100), t.recv(100), os.eventfd_read(e) if e else 3") == "(b'in the pipe', b'to t', 3)"
        copy.code("os.write(w, b'x')")
        assert box.value("p.poll(0)") == "[]"


def test_what_cannot_be_copied_is_named(spored, box):
    # Not the quick way, but with all of the session.
    box.code("import socket\ns = socket.socket(socket.AF_UNIX); s.bind('/tmp/sock'); s.listen()")
    error = box.error("Branch", only_interpreter=True)
    assert error.code == 9 and "descriptor" in error.message and "socket" in error.message, error
    with branch(box) as (copy,):
        assert copy.value("(c := socket.socket(socket.AF_UNIX)).connect('/tmp/sock') or s.accept()[0] is not None") == "True"
    # In no way: a descriptor that nobody has received yet.
    box.code("import array, os\nl, r = socket.socketpair()\n"
             "l.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0]))])")
    error = box.error("Branch")
    assert error.code == 9, error
    assert box.value("len(r.recvmsg(1, 100)[1])") == "1"
    with branch(box):
        pass


def test_threads_and_a_lock_that_is_held(spored, box):
    box.code("import threading, time, queue\n"
             "lock = threading.Lock(); go = threading.Event(); counted = [0]; jobs = queue.Queue(); done = queue.Queue()\n"
             "def holder():\n    with lock:\n        go.wait()\n        counted[0] = 'released'\n"
             "def worker():\n    while True: done.put(jobs.get() * 2)\n"
             "threads = [threading.Thread(target=f, daemon=True) for f in (holder, worker)]\n"
             "[t.start() for t in threads]\nwhile not lock.locked(): time.sleep(0.01)")
    with branch(box) as (copy,):
        assert copy.value("lock.locked(), [t.is_alive() for t in threads]") == "(True, [True, True])"
        assert copy.value("jobs.put(21) or done.get(timeout=60)") == "42"
        assert copy.value("go.set() or threads[0].join(60) or (lock.acquire(timeout=60), counted[0])") == \
            "(True, 'released')"
        assert copy.value("[t.native_id for t in threads]") == box.value("[t.native_id for t in threads]")
        assert box.value("lock.locked(), counted") == "(True, [0])"
        assert box.value("jobs.put(4) or done.get(timeout=60)") == "8"


def test_in_the_middle_of_a_call(spored, box):
    """A piece of code that sleeps in a read, in a sleep, in a write to a full pipe, or computes."""
    box.code("import os, time\nr, w = os.pipe(); r2, w2 = os.pipe(); log = []")
    for code, wake in (("log.append(os.read(r, 10)); 'over'", "os.write(w, b'x')"),
                       ("time.sleep(3); log.append('slept'); 'over'", "0"),
                       ("n = os.write(w2, b'y' * 200_000); log.append(n); 'over'", "0"),
                       ("i = 0\nwhile i < 30_000_000: i += 1\n'over'", "0")):
        if "r2" not in code and "w2" in code:
            box.code("import threading\n"
                     "def drain():\n    time.sleep(2)\n    got = 0\n    while got < 200_000: got += len(os.read(r2, 65536))\n"
                     "threading.Thread(target=drain, daemon=True).start()")
        if "os.read(r," in code:
            box.code("import threading\nthreading.Thread(target=lambda: (time.sleep(2), os.write(w, b'x')), daemon=True).start()")
        running = sandboxes.Asking(box, "RunCode", code=code)
        daemon.wait_until(lambda: box.inspect()["idle_since_unix_ms"] == 0, what="it runs")
        time.sleep(0.2)
        with branch(box) as (copy,):
            assert running.get()["value"] == "'over'", code
            # What the copy was in the middle of goes on there, and then others have their turn.
            assert copy.value("1 + 1") == "2", code
            assert copy.value("log") == box.value("log"), code


def test_other_programs_come_along_or_are_left_out(spored, box):
    box.code("import subprocess\n"
             "child = subprocess.Popen(['cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)")
    number = box.detach("sleep", "601")
    with branch(box, copies=2) as (copy, other):
        for each, word in ((copy, "one"), (other, "two"), (box, "three")):
            assert each.value(f"child.communicate('{word}')[0], child.returncode") == f"('{word}', 0)"
        assert [p for p in copy.processes() if p["exec_id"] == number]
    with branch(box, only_interpreter=True) as (copy,):
        assert not [p for p in copy.processes() if "sleep" in p["args"]]
        assert copy.value("child.returncode") == "0"
    box.call("SignalExec", exec_id=number, signal=9)


def test_signals_umask_and_folder(spored, box):
    box.code("import os, signal\nos.umask(0o27); os.mkdir('/tmp/w'); os.chdir('/tmp/w'); got = []\n"
             "signal.signal(signal.SIGUSR1, lambda *_: got.append(1)); signal.signal(signal.SIGUSR2, signal.SIG_IGN)")
    with branch(box) as (copy,):
        assert copy.value("os.kill(os.getpid(), signal.SIGUSR1) or os.kill(os.getpid(), signal.SIGUSR2) or "
                          "(got, os.getcwd(), oct(os.umask(0)))") == "([1], '/tmp/w', '0o27')"
        looping = sandboxes.Asking(copy, "RunCode", code="while True: pass")
        daemon.wait_until(lambda: copy.call("InterruptCode")["was_running"], what="the loop runs")
        assert looping.get()["error"]["type"] == "KeyboardInterrupt"
        assert copy.value("got") == "[1]"


# Real-time signals queue: each that is sent arrives, whatever a thread was doing when it was held.
SENDS_SIGNALS = """
import os, signal, threading, time
r, w = os.pipe()
os.set_blocking(w, False)
signal.set_wakeup_fd(w, warn_on_full_buffer=False)
NUMBER = signal.SIGRTMIN + 1
signal.signal(NUMBER, lambda *_: None)
first, sent, over = threading.main_thread().ident, 0, False
def send():
    global sent
    while sent < 60_000 and not over:
        try:
            signal.pthread_kill(first, NUMBER)
            sent += 1
        except OSError:  # as many wait as may
            time.sleep(0.001)
sender = threading.Thread(target=send)
sender.start()
"""


def test_no_signal_is_lost_while_it_is_copied(spored, box):
    box.code(SENDS_SIGNALS)
    for _ in range(6):
        with branch(box, only_interpreter=True):
            pass
    assert box.value("over = True; sender.join()\nos.set_blocking(r, False); "
                     "got = os.read(r, 1 << 20); (sent > 0, sent - got.count(NUMBER))") == "(True, 0)"


def test_memory_of_every_kind(spored, box):
    box.code("import mmap, ctypes\n"
             "m = mmap.mmap(-1, 1 << 20); m[5] = 7\n"
             "f = open('/tmp/mapped', 'w+b'); f.truncate(8192); s = mmap.mmap(f.fileno(), 8192); s[0] = 1\n"
             "big = bytearray(30 << 20); big[-1] = 9\n"
             "import decimal, sqlite3; db = sqlite3.connect(':memory:'); db.execute('create table t(x)'); db.execute('insert into t values(5)')")
    with branch(box) as (copy,):
        assert copy.value("m[5], s[0], big[-1], db.execute('select x from t').fetchone()") == "(7, 1, 9, (5,))"
        copy.code("m[5] = 8; s[0] = 2")
        assert box.value("m[5], s[0], open('/tmp/mapped', 'rb').read(1)") == "(7, 1, b'\\x01')"
        assert copy.value("open('/tmp/mapped', 'rb').read(1)") == "b'\\x02'"


def test_randomness_is_renewed(spored, box):
    box.code("import random, uuid")
    with branch(box, copies=2) as (one, two):
        draws = [each.value("random.random()") for each in (one, two, box)]
        assert len(set(draws)) == 3


def test_killing_one_leaves_the_others(spored, box):
    box.code("x = 1")
    with branch(box, copies=2) as (one, two):
        one.kill()
        assert two.value("x") == "1" and box.value("x") == "1"
        with sandboxes.sandbox(spored) as second:
            second.code("y = 2")
            (late,) = branch(second)
            second.kill()
            assert late.value("y") == "2"
            late.kill()


def test_bad_input_and_limits(spored, box):
    for fields, words in (({"copies": 17}, "copies"), ({"label": "a b"}, "label"), ({"ttl_ms": 5}, "ttl_ms")):
        error = box.error("Branch", **fields)
        assert error.code == 3 and words in error.message
    assert spored.error_of("Sandboxes", "Branch", {"id": "0" * 12}).code == 5
    assert spored.cli("sandbox", "branch", "-n", "0", box.id).code == 2
    box.call("Pause")
    error = box.error("Branch")
    assert error.code == 9 and "paused" in error.message
    box.call("Resume")
    box.code("x = 1")
    before = len(spored.call("Sandboxes", "List", {})["sessions"])
    held = [sandboxes.create(spored) for _ in range(24 - before)]
    error = box.error("Branch", copies=2)
    assert error.code == 8, error
    for each in held:
        each.kill()
    assert box.value("x") == "1"
    daemon.wait_until(lambda: len(spored.call("Sandboxes", "List", {})["sessions"]) == before, what="none is left of them")


def test_memory_limits_are_the_copys_own(spored):
    with sandboxes.sandbox(spored, limits={"memory_bytes": 96 << 20}) as box:
        box.code("big = bytearray(b'x') * (40 << 20)")
        with branch(box) as (copy,):
            assert copy.value("big[-1]") == "120"
            assert copy.inspect()["memory_bytes"] > 40 << 20
            assert copy.code("more = bytearray(b'y') * (80 << 20)")["interpreter_ended"]
            assert box.value("big[-1]") == "120"


def test_branches_beside_each_other(spored, box):
    box.code("x = 5")
    results = []

    def one():
        with branch(box) as (copy,):
            results.append(copy.value("x"))
    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["5"] * 4


def test_its_time_is_the_sources_unless_told(spored):
    with sandboxes.sandbox(spored, ttl_ms=50_000, environment={"E": "1"}, idle_timeout_ms=40_000) as box:
        box.code("import os")
        with branch(box) as (copy,):
            a, b = copy.inspect(), box.inspect()
            # It is counted from when the branch was asked for, and it began a moment later.
            assert abs(a["expires_unix_ms"] - b["expires_unix_ms"]) < 10_000
            assert a["environment"] == {"E": "1"} and a["limits"] == b["limits"] and a["idle_timeout_ms"] == 40_000
            assert copy.value("os.environ['E']") == "'1'"
        with branch(box, ttl_ms=2000) as (copy,):
            assert copy.ended()["cause"] == "TIMEOUT"
