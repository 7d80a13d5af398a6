"""Sessions whose tenant is hostile: limits, agents that are attacked, floods; each ends alone, and tells of what."""
import contextlib
import os
import pathlib

import daemon
import pytest
import sandboxes
import ttrpc


@pytest.fixture
def box(spored):
    with sandboxes.sandbox(spored, ttl_ms=600_000, limits={"pids": 48, "memory_bytes": 128 << 20}) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def bystander(spored):
    """Another one, which nothing of this may reach."""
    with sandboxes.sandbox(spored, ttl_ms=3_600_000) as made:
        made.code("kept = 'kept'")
        yield made
        assert made.value("kept") == "'kept'"


def test_an_agent_killed_from_inside_ends_the_session(box):
    agent = box.agent()
    with contextlib.suppress(ttrpc.RpcError):
        box.shell(f"kill -9 {agent}")
    death = box.ended()
    assert (death["cause"], death["signal"]) == ("SIGNAL", 9)
    assert "ended from inside" in death["message"]


def test_other_signals_do_not_reach_it(box):
    agent = box.agent()
    box.shell(f"for s in HUP INT QUIT TERM USR1 SEGV PIPE ALRM; do kill -$s {agent}; done; kill -TERM 1")
    assert box.out("echo alive") == "alive\n"


def test_an_agent_that_was_stopped_is_killed_all_the_same(spored):
    box = sandboxes.create(spored, ttl_ms=600_000)
    status = pathlib.Path(f"/proc/{box.inspect()['pid']}/status")
    # The agent may be stopped before it tells of the program's start: no answer is waited for.
    sandboxes.Asking(box, "Exec", args=["sh", "-c", f"kill -STOP {box.agent()}"], streams="KEPT")
    daemon.wait_until(lambda: "State:\tT" in status.read_text(), what="it is stopped")
    asking = sandboxes.Asking(box, "ReadFile", path=b"/etc/hostname")
    assert box.inspect()["state"] == "RUNNING"
    assert box.kill()["death"]["cause"] == "KILLED"
    with pytest.raises(ttrpc.RpcError) as failed:
        asking.get()
    assert "has ended" in str(failed.value) or failed.value.code == 9


def test_everybody_is_killed_at_once(box):
    with contextlib.suppress(ttrpc.RpcError):
        box.shell("kill -9 -1")
    death = box.ended()
    assert death["cause"] == "SIGNAL"


def test_a_fork_bomb_stays_within_its_limit(box):
    # A shell that cannot fork ends, so that its bomb may be over before anybody looks.
    number = box.detach("python3", "-c", "import os, time\nwhile True:\n    try: os.fork()\n"
                        "    except OSError: time.sleep(0.01)")
    daemon.wait_until(lambda: box.inspect()["pids"] >= 40, what="it grows")
    assert box.inspect()["pids"] <= 48
    response = box.exec("true")
    assert response["code"] in (0, 125), response
    box.write("/tmp/still", b"served")
    assert box.read("/tmp/still")["data"] == b"served"
    assert box.kill()["death"]["cause"] == "KILLED"
    assert number == 1


def test_memory_has_its_end(box):
    done = box.exec("python3", "-c", "x = []\nwhile True: x.append(bytearray(1 << 20))", patience=120)
    assert done["code"] == 137 and "out of memory" in done["exec"]["error"], done
    assert box.out("echo alive") == "alive\n"
    done = box.code("x = []\nwhile True: x.append(bytearray(1 << 20))", patience=120)
    assert done["error"]["type"] == "MemoryError" or done["interpreter_ended"]
    assert box.value("1 + 1") == "2"


def test_tmp_has_its_end(spored):
    with sandboxes.sandbox(spored, limits={"tmp_bytes": 8 << 20}) as box:
        done = box.shell("head -c 20000000 /dev/zero > /tmp/big")
        assert done["code"] != 0 and b"No space left" in done["stderr"]
        error = box.error("WriteFile", path=b"/tmp/more", data=b"x" * 100_000, create=True)
        assert error.code == 8 and "No space left" in error.message
        box.call("RemoveFile", path=b"/tmp/big")
        box.write("/tmp/more", b"x")


def test_open_files_have_their_end(spored):
    with sandboxes.sandbox(spored, limits={"open_files": 32}) as box:
        held = [box.detach("sleep", "100") for _ in range(10)]
        codes = [box.exec("true")["code"] for _ in range(5)]
        assert set(codes) <= {0, 125}
        for number in held:
            with contextlib.suppress(ttrpc.RpcError):
                box.call("SignalExec", exec_id=number, signal=9)
        daemon.wait_until(lambda: box.exec("true")["code"] == 0, what="there is room again")


def test_floods_of_output_are_dropped(box):
    number = box.detach("sh", "-c", "while :; do echo flood; done")
    for _ in range(5):
        assert box.out("echo beside") == "beside\n"
    part = box.call("ReadExecOutput", exec_id=number, position=0, wait_ms=1000)
    assert len(part["data"]) <= 1 << 20
    box.call("SignalExec", exec_id=number, signal=9)
    box.code("import threading\n"
             "def flood():\n    while True: print('x' * 1000)\n"
             "threading.Thread(target=flood, daemon=True).start()")
    for _ in range(5):
        assert box.out("echo beside") == "beside\n"
    assert box.inspect()["state"] == "RUNNING"
    assert len(box.spored.cli("sandbox", "logs", box.id).raw) < 1 << 20


def test_the_agents_memory_is_not_open(box):
    for place in ("mem", "fd/3", "maps", "environ"):
        done = box.code(f"open('/proc/{box.agent()}/{place}', 'rb').read(1)")
        assert done["error"]["type"] in ("PermissionError", "FileNotFoundError"), (place, done)


def test_its_channel_is_not_to_be_had(box):
    """Neither a program nor the interpreter has the socket to spored."""
    listing = box.shell("ls -l /proc/self/fd")["stdout"].decode()
    assert "socket" not in listing
    done = box.code("import os, stat\n"
                    "[fd for fd in range(3, 200) if os.path.exists(f'/proc/self/fd/{fd}')]")
    # 3 is the interpreter's channel to the agent.
    assert done["value"] in ("[3]", "[3, 4]"), done


def test_an_interpreter_without_end_is_ended(box):
    done = box.code("import os\nwhile True:\n    try:\n        while True: os.getpid()\n"
                    "    except BaseException: pass", timeout_ms=200)
    assert done["timed_out"] and done["interpreter_ended"]


def test_descriptors_that_the_code_closes(box):
    done = box.code("import os\nfor fd in range(3, 64):\n    try: os.close(fd)\n    except OSError: pass\n"
                    "import time; time.sleep(10)")
    assert done["interpreter_ended"], done
    done = box.code("import os\nos.close(1); os.close(2)\n5")
    assert done["value"] == "5"
    assert box.out("echo alive") == "alive\n"


def test_hostile_streams_of_a_client(box):
    """A pipe that nobody reads holds up its program only."""
    theirs, ours = sandboxes.pipes()
    asking = sandboxes.Asking(box, "Exec", args=["sh", "-c", "while :; do echo full; done"],
                              streams="ATTACHED", fds=theirs)
    assert box.out("echo beside") == "beside\n"
    asking.vanish()
    for end in theirs + ours:
        os.close(end)


def test_it_leaves_nothing_behind(spored):
    before = spored.tenant_processes()
    boxes = [sandboxes.create(spored) for _ in range(4)]
    for box in boxes:
        box.detach("sh", "-c", "setsid sleep 1000 & setsid sleep 1000 & sleep 1000")
        box.code("import subprocess; subprocess.Popen(['sleep', '1000'], start_new_session=True)")
    for box in boxes:
        box.kill()
    # Sandboxes that are made ahead may be there now that were not before.
    daemon.wait_until(lambda: (lambda found: len(found) <= len(before) + 16 and "sleep" not in found.values())(
        spored.tenant_processes()), what=f"they are gone: {before}")
