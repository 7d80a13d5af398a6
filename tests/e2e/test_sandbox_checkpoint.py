"""Sessions on disk: what comes back, as often as asked, and what each copy is like.

What refuses, and faults: test_sandbox_checkpoint_faults.py.
"""
import contextlib
import json
import time

import daemon
import pytest
import sandboxes
import ttrpc

SPORED_CONFIG = {"max-instances": 24}
SERVICE = "SessionCheckpoints"


@pytest.fixture
def box(spored):
    with sandboxes.sandbox(spored, ttl_ms=600_000) as made:
        yield made


@contextlib.contextmanager
def kept(box, **fields):
    """A checkpoint of the session, removed in the end."""
    response = box.spored.call(SERVICE, "Create", {"id": box.id, **fields})
    try:
        yield response["checkpoint"]
    finally:
        box.spored.call(SERVICE, "Remove", {"name": response["checkpoint"]["name"]})


@contextlib.contextmanager
def restored(spored, name, **fields):
    made = sandboxes.Sandbox(spored, spored.call(SERVICE, "Restore", {"name": name, **fields})["id"])
    try:
        yield made
    finally:
        with contextlib.suppress(ttrpc.RpcError):
            made.kill()


STATE = """
import os, random, threading, socket
heap = {i: str(i) for i in range(20_000)}
beats = 0
def beat():
    global beats
    while True:
        beats += 1
        threading.Event().wait(0.01)
threading.Thread(target=beat, daemon=True).start()
log = open('/tmp/log', 'a+'); log.write('before\\n'); log.flush()
gone = open('/tmp/gone', 'w+'); gone.write('still here'); gone.flush(); os.unlink('/tmp/gone')
left, right = socket.socketpair(); left.send(b'on its way')
reading, writing = os.pipe(); os.write(writing, b'in the pipe')
pid = os.getpid()
"""


def check_state(copy):
    assert copy.value("heap[19_999], len(heap), os.getpid() == pid") == "('19999', 20000, True)"
    before = int(copy.value("beats"))
    daemon.wait_until(lambda: int(copy.value("beats")) > before, what="its thread goes on")
    copy.code("log.write('after\\n'); log.flush()")
    assert copy.out("cat /tmp/log") == "before\nafter\n"
    assert copy.value("gone.seek(0), gone.read()") == "(0, 'still here')"
    assert copy.value("right.recv(100), os.read(reading, 100)") == "(b'on its way', b'in the pipe')"


def test_it_comes_back_as_often_as_asked(spored, box):
    box.code(STATE)
    with kept(box, name="once") as checkpoint:
        assert box.inspect()["state"] == "DEAD"
        assert "checkpoint once" in box.inspect()["death"]["message"]
        assert checkpoint["session"] == box.id and checkpoint["bytes"] > 0 and checkpoint["interpreter"]
        with restored(spored, "once") as first, restored(spored, "once") as second:
            for copy in (first, second):
                check_state(copy)
                info = copy.inspect()
                assert info["restored_from"] == "once" and info["state"] == "RUNNING"
                assert info["start_kind"] == "START_KIND_RESTORE"
            first.code("heap.clear()")
            assert second.value("len(heap)") == "20000"
            assert first.inspect()["uid"] != second.inspect()["uid"]
            # What must not be the same twice.
            assert first.value("random.random()") != second.value("random.random()")


def test_it_goes_on_where_that_is_wanted(spored, box):
    box.code(STATE)
    with kept(box, leave_running=True) as checkpoint:
        check_state(box)
        assert box.inspect()["state"] == "RUNNING"
        with restored(spored, checkpoint["name"]) as copy:
            check_state(copy)
        # And once more, of the one that went on.
        box.code("heap['new'] = 1")
        with kept(box, leave_running=True) as second, restored(spored, second["name"]) as copy:
            assert copy.value("heap['new']") == "1"
        assert box.value("heap['new']") == "1"


def test_programs_come_back(spored, box):
    number = box.detach("sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done")
    pair = box.detach("sh", "-c", "while :; do echo x; sleep 0.05; done | while read line; do echo $line >> /tmp/out; done")
    box.code("import subprocess\nchild = subprocess.Popen(['cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)")
    done = box.exec("sh", "-c", "echo ended; exit 3")
    daemon.wait_until(lambda: box.exec("test", "-s", "/tmp/out")["code"] == 0 and
                      len(box.call("ReadExecOutput", exec_id=number)["data"].split()) > 1, what="both write")
    with kept(box) as checkpoint, restored(spored, checkpoint["name"]) as copy:
        states = {e["exec_id"]: e for e in copy.call("ListExecs")["execs"]}
        assert states[number]["state"] == states[pair]["state"] == "RUNNING"
        assert (states[done["exec"]["exec_id"]]["state"], states[done["exec"]["exec_id"]]["exit_code"]) == ("ENDED", 3)
        output = copy.call("ReadExecOutput", exec_id=number)
        assert output["data"].split()[:2] == [b"0", b"1"]
        more = copy.call("ReadExecOutput", exec_id=number, position=len(output["data"]), wait_ms=60_000)
        assert more["data"], "it goes on to write"
        size = int(copy.out("stat -c %s /tmp/out"))
        daemon.wait_until(lambda: int(copy.out("stat -c %s /tmp/out")) > size, what="the pipeline goes on")
        assert copy.value("child.communicate('to the child')[0], child.returncode") == "('to the child', 0)"
        assert copy.exec("true")["exec"]["exec_id"] > done["exec"]["exec_id"]
        copy.call("SignalExec", exec_id=number, signal=9)
        ended = copy.call("WaitExec", exec_id=number, wait_ms=60_000)
        assert (ended["state"], ended["signal"]) == ("ENDED", 9)


STATE_OF = "import pathlib\nstate = lambda: pathlib.Path(f'/proc/{child.pid}/stat').read_text().rsplit(')', 1)[1].split()[0]"


def test_what_was_stopped_stays_so(spored, box):
    box.code("import os, signal, subprocess, time\n" + STATE_OF + "\n"
             "child = subprocess.Popen(['sh', '-c', 'while :; do echo x >> /tmp/counted; sleep 0.02; done'])\n"
             "while not os.path.exists('/tmp/counted'): time.sleep(0.01)\n"
             "os.kill(child.pid, signal.SIGSTOP)\n"
             "while state() != 'T': time.sleep(0.01)")
    runs = box.detach("sleep", "600")
    with kept(box, leave_running=True) as checkpoint, restored(spored, checkpoint["name"]) as copy:
        for session in (copy, box):
            counted = session.out("wc -l < /tmp/counted")
            assert session.value("time.sleep(0.2), state(), child.poll()") == "(None, 'T', None)"
            assert session.out("wc -l < /tmp/counted") == counted
            session.code("os.kill(child.pid, signal.SIGCONT)")
            daemon.wait_until(lambda: session.out("wc -l < /tmp/counted") != counted, what="it goes on")
            states = {e["exec_id"]: e["state"] for e in session.call("ListExecs")["execs"]}
            assert states[runs] == "RUNNING"


def test_an_interpreter_that_was_stopped(spored, box):
    pid = box.value("__import__('os').getpid()")
    state = f"cut -d' ' -f3 /proc/{pid}/stat"
    box.out(f"kill -STOP {pid}; while [ $({state}) != T ]; do sleep 0.01; done")
    with kept(box, leave_running=True) as checkpoint, restored(spored, checkpoint["name"]) as copy:
        for session in (copy, box):
            assert session.out(state) == "T\n"
            session.out(f"kill -CONT {pid}")
            assert session.value("1 + 1") == "2"


def test_a_session_without_code(spored, box):
    box.out("mkdir -p /tmp/d/e; echo one > /tmp/d/a; ln /tmp/d/a /tmp/d/b; ln -s ../a /tmp/d/e/l; chmod 640 /tmp/d/a;"
            "mkfifo /tmp/f; truncate -s 30M /tmp/holes; echo two > /dev/shm/s; touch -d @1000 /tmp/old; chmod 500 /tmp/d/e")
    look = ("stat -c %a%h%U /tmp/d/a; stat -c %a /tmp/d/e; stat -c %Y /tmp/old; stat -c %b /tmp/holes; test -p /tmp/f;"
            "cat /tmp/d/b /tmp/d/e/l /dev/shm/s")
    seen = box.out(look)
    with kept(box) as checkpoint, restored(spored, checkpoint["name"], label="again", ttl_ms=60_000) as copy:
        assert copy.out(look) == seen
        assert copy.inspect()["label"] == "again"
        assert copy.value("1 + 1") == "2"


def test_a_piece_of_code_in_the_middle(spored, box):
    box.code("import time")
    running = sandboxes.Asking(box, "RunCode", code="for i in range(200): time.sleep(0.02)\nfound = i")
    daemon.wait_until(lambda: box.inspect()["code_runs"] == 2, what="it runs")
    with kept(box, leave_running=True) as checkpoint, restored(spored, checkpoint["name"]) as copy:
        # There its result is for nobody; it is over before the next piece.
        assert copy.value("found") == "199"
        assert running.get()["error"] is None
        assert box.value("found") == "199"


def test_node(spored):
    with sandboxes.sandbox(spored, image="node", ttl_ms=600_000) as box:
        box.code("const fs = require('fs'), crypto = require('crypto'); let ticks = 0; setInterval(() => ticks++, 10);"
                 "const heap = {a: [1, 2, 3]}; crypto.randomUUID(); crypto.randomInt(9); crypto.randomBytes(9); Math.random()")
        with kept(box) as checkpoint, restored(spored, checkpoint["name"]) as copy, \
                restored(spored, checkpoint["name"]) as other:
            assert copy.value("heap.a.length") == "3"
            for draw in ("crypto.randomBytes(9).toString('hex')", "crypto.randomUUID()", "Math.random()",
                         "crypto.getRandomValues(new Uint32Array(4)).join()", "crypto.randomInt(2 ** 40)"):
                assert copy.value(draw) != other.value(draw), draw
            before = int(copy.value("ticks"))
            daemon.wait_until(lambda: int(copy.value("ticks")) > before, what="its timer goes on")
            assert copy.value("await fs.promises.readFile('/proc/self/comm', 'utf8')").strip("'\\n") != ""


def test_it_outlives_the_daemon(spored, box):
    box.code("x = 41")
    with kept(box, name="survivor"):
        spored.stop()
        spored.start()
        assert [c["name"] for c in spored.call(SERVICE, "List")["checkpoints"]] == ["survivor"]
        with restored(spored, "survivor") as copy:
            assert copy.value("x + 1") == "42"


def test_of_a_restored_one(spored, box):
    box.code("x = 1")
    with kept(box) as first, restored(spored, first["name"]) as copy:
        copy.code("x += 1")
        with kept(copy) as second, restored(spored, second["name"]) as again:
            assert again.value("x") == "2"
            again.code("x += 1")
            branched = again.call("Branch")["sessions"][0]["id"]
            assert sandboxes.Sandbox(spored, branched).value("x") == "3"
            sandboxes.Sandbox(spored, branched).kill()


def test_clocks_go_on_where_the_host_was_started_anew(spored, box):
    """As if the host that it was dumped on had been up for a day longer than this one."""
    box.code("import time, threading\nwoke = []\n"
             "def sleeper():\n    time.sleep(0.5); woke.append(1)\n"
             "before = time.monotonic(); threading.Thread(target=sleeper).start()")
    with kept(box, name="early"):
        record = spored.state / "session-checkpoints" / "0" / "early" / "checkpoint.json"
        fields = json.loads(record.read_text())
        day = 86_400_000_000_000
        for name in ("monotonicNs", "boottimeNs"):
            fields[name] = str(int(fields[name]) + day)
        record.write_text(json.dumps(fields))
        with restored(spored, "early") as copy:
            assert float(copy.value("time.monotonic() - before")) > 86_000
            with kept(copy, leave_running=True) as again, restored(spored, again["name"]) as second:
                assert float(second.value("time.monotonic() - before")) > 86_000
        fields = {**fields, **{name: str(int(fields[name]) - day) for name in ("monotonicNs", "boottimeNs")}}
        record.write_text(json.dumps(fields))
        with restored(spored, "early") as copy:
            daemon.wait_until(lambda: copy.value("woke") == "[1]", what="the sleeper wakes up")


def test_what_is_asked_meanwhile_waits(spored, box):
    box.code("n = 0")
    for _ in range(4):
        copying = sandboxes.Asking(box, "Branch", copies=1) if _ % 2 else None
        client = spored.client(300)
        client.send(SERVICE, "Create", {"id": box.id, "leave_running": True, "name": f"meanwhile-{_}"})
        for _i in range(30):
            box.code("n += 1")
            assert box.out("echo x") == "x\n"
        _stream, _kind, body = client.receive()
        with contextlib.suppress(ttrpc.RpcError):  # it is being copied already
            client.answer("CreateSessionCheckpointResponse", body)
            spored.call(SERVICE, "Remove", {"name": f"meanwhile-{_}"})
        client.close()
        if copying:
            with contextlib.suppress(ttrpc.RpcError):
                sandboxes.Sandbox(spored, copying.get()["sessions"][0]["id"]).kill()
    assert box.value("n") == "120"


def only_lives(spored, box):
    """Nothing but this session is left, and it is well."""
    daemon.wait_until(lambda: [s["id"] for s in spored.call("Sandboxes", "List")["sessions"]] == [box.id],
                      what="no other session is left")
    assert box.value("6 * 7") == "42"


@pytest.mark.parametrize("after", [0, 0.05, 0.12, 0.2, 0.3])
def test_a_client_that_vanishes_leaves_no_session(spored, box, after):
    box.code("import subprocess\nchild = subprocess.Popen(['sleep', '600'])")
    with kept(box, leave_running=True) as checkpoint:
        for service, method, fields in ((SERVICE, "Restore", {"name": checkpoint["name"]}),
                                        ("Sandboxes", "Branch", {"id": box.id, "copies": 2})):
            client = spored.client(300)
            client.send(service, method, fields)
            time.sleep(after)
            client.close()
            daemon.wait_until(lambda: not [s for s in spored.call("Sandboxes", "List")["sessions"]
                                           if s["state"] == "STARTING"], what="none is on its way")
            # One that was complete before is there; its answer was lost with the client.
            for session in spored.call("Sandboxes", "List")["sessions"]:
                if session["id"] != box.id:
                    with contextlib.suppress(ttrpc.RpcError):  # it ends by itself
                        sandboxes.Sandbox(spored, session["id"]).kill()
    only_lives(spored, box)


def test_many_at_once_are_made_or_refused_and_all_go_on(spored):
    with contextlib.ExitStack() as stack:
        boxes = [stack.enter_context(sandboxes.sandbox(spored, ttl_ms=600_000)) for _ in range(7)]
        for i, each in enumerate(boxes):
            each.code(f"x = {i}")
        clients = [spored.client(300) for _ in boxes]
        for each, client in zip(boxes, clients):
            client.send(SERVICE, "Create", {"id": each.id, "leave_running": True, "name": f"many-{each.id}"})
        made = 0
        for each, client in zip(boxes, clients):
            _, _, body = client.receive()
            try:
                client.answer("CreateSessionCheckpointResponse", body)
                made += 1
                spored.call(SERVICE, "Remove", {"name": f"many-{each.id}"})
            except ttrpc.RpcError as error:
                assert error.code == 8 and "try again" in error.message, error
            client.close()
        assert made >= 4
        assert [each.value("x") for each in boxes] == [str(i) for i in range(7)]
