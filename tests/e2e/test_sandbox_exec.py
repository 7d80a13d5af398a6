"""Programs in sessions: streams, terminals, exit codes, background, ends."""
import os
import pty
import select
import subprocess
import termios
import time

import daemon
import pytest
import sandboxes


@pytest.fixture(scope="module")
def box(spored):
    with sandboxes.sandbox(spored, ttl_ms=600_000, limits={"pids": 256}) as made:
        yield made


def spore(spored, *args):
    return [daemon.find_program("spore"), "--socket", str(spored.socket), "sandbox", *args]


@pytest.fixture
def start(spored):
    started = []

    def call(*args, **fields):
        process = subprocess.Popen(spore(spored, *args), env=daemon.environment(),
                                   **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE,
                                      "stderr": subprocess.PIPE, **fields})
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate()


def test_streams_and_exit_codes_pass_through(spored, box):
    done = spored.cli("sandbox", "exec", "-i", box.id, "--", "sh", "-c", "cat; echo err >&2; exit 7",
                      input=b"in\n")
    assert (done.code, done.out, done.err) == (7, "in\n", "err\n")
    assert spored.cli("sandbox", "exec", box.id, "sh", "-c", "kill -9 $$").code == 137
    assert spored.cli("sandbox", "exec", box.id, "cat", input=b"not read").out == ""


def test_what_cannot_be_executed_says_why(spored, box):
    box.write("/tmp/plain", b"#!/bin/sh\n")
    box.write("/tmp/odd", b"#!/no/such\n", mode=0o755)
    for command, code, words in ((["nothing"], 127, "not found in the image"),
                                 (["/tmp/none"], 127, "not found"),
                                 (["/tmp/plain"], 126, "not executable"),
                                 (["/tmp/odd"], 126, "bad interpreter"),
                                 (["/tmp"], 126, "a directory")):
        done = spored.cli("sandbox", "exec", box.id, "--", *command)
        assert done.code == code and words in done.err, done
    done = spored.cli("sandbox", "exec", "-w", "/none", box.id, "true")
    assert done.code == 126 and "working directory /none" in done.err
    assert spored.cli("sandbox", "exec", "000000000000", "true").code == 125
    error = box.error("Exec", args=[], streams="KEPT")
    assert error.code == 3 and "args" in error.message
    assert box.error("Exec", args=["a\0b"], streams="KEPT").code == 3
    assert box.error("Exec", args=["x" * 300_000], streams="KEPT").code == 3
    assert box.error("Exec", args=["true"], streams=9).code == 3
    assert box.error("Exec", args=["true"], streams="KEPT", working_directory="tmp").code == 3


def test_environment_and_folder(box, spored):
    done = spored.cli("sandbox", "exec", "--env", "WHO=me", "-w", "/usr", box.id, "--", "sh", "-c", "echo $WHO; pwd")
    assert done.out == "me\n/usr\n"
    assert box.out("pwd; echo $HOME") == "/tmp\n/tmp\n"
    with sandboxes.sandbox(spored, environment={"ONE": "1", "TWO": "2"}) as other:
        done = other.shell("echo $ONE $TWO", environment={"TWO": "too"})
        assert done["stdout"] == b"1 too\n"
        assert other.value("__import__('os').environ['ONE']") == "'1'"


def test_kept_output_is_the_newest_part(box):
    done = box.shell("head -c 1500000 /dev/zero; printf end; echo oops >&2", patience=120)
    assert len(done["stdout"]) + done["stdout_dropped"] == 1_500_003
    assert done["stdout"].endswith(b"\0end") and len(done["stdout"]) <= 1 << 20
    assert done["stderr"] == b"oops\n"
    assert box.exec("cat", input=b"x" * 100_000)["stdout"] == b"x" * 100_000


def test_descriptors_are_checked(spored, box):
    folder = os.open("/", os.O_RDONLY)
    null = os.open("/dev/null", os.O_RDWR)
    try:
        error = box.error("Exec", args=["true"], streams="ATTACHED", fds=[folder, null, null])
        assert error.code == 3 and "stdin: a directory" in error.message
        error = box.error("Exec", args=["true"], streams="TERMINAL", fds=[null])
        assert error.code == 3 and "terminal" in error.message
        theirs, ours = sandboxes.pipes()
        response = box.call("Exec", args=["sh", "-c", "echo hi > /dev/stdout"], streams="ATTACHED", fds=theirs)
        assert response["exec"]["exit_code"] == 0
        for end in theirs:
            os.close(end)
        assert sandboxes.read_all(ours[1]) == b"hi\n"
        os.close(ours[0])
        os.close(ours[2])
    finally:
        os.close(folder)
        os.close(null)


def test_a_client_that_goes_takes_its_program_along(box, start):
    process = start("exec", "-i", box.id, "--", "sh", "-c", "echo up; sleep 321")
    assert process.stdout.readline() == b"up\n"
    process.kill()
    daemon.wait_until(lambda: not any("321" in p["args"] for p in box.processes()), what="it is killed")
    asking = sandboxes.Asking(box, "Exec", args=["sleep", "322"], streams="KEPT")
    daemon.wait_until(lambda: any("322" in p["args"] for p in box.processes()), what="it runs")
    asking.vanish()
    daemon.wait_until(lambda: not any("322" in p["args"] for p in box.processes()), what="it is killed")
    assert box.out("echo alive") == "alive\n"


def test_timeout(spored, box):
    done = spored.cli("sandbox", "exec", "--timeout", "300ms", box.id, "sleep", "60")
    assert done.code == 124 and "timeout" in done.err
    response = box.exec("sleep", "60", timeout_ms=200)
    assert response["exec"]["timed_out"] and response["code"] == 137


def test_in_the_background_it_stays_reachable(spored, box):
    box.exec("mkfifo", "/tmp/go")
    done = spored.cli("sandbox", "exec", "-d", box.id, "--", "sh", "-c", "echo one; read x < /tmp/go; echo two; exit 5")
    number = done.out.strip()
    daemon.wait_until(lambda: spored.cli("sandbox", "output", box.id, number).out.startswith("one"), what="it wrote")
    assert "running" in spored.cli("sandbox", "execs", box.id).out
    waiting = sandboxes.Asking(box, "WaitExec", exec_id=int(number), wait_ms=60000)
    box.detach("sh", "-c", "echo > /tmp/go")
    assert waiting.get()["state"] == "ENDED"
    assert spored.cli("sandbox", "output", "-f", box.id, number).out == "one\ntwo\n"
    assert box.error("WaitExec", exec_id=999).code == 5
    assert box.error("SignalExec", exec_id=int(number), signal=15).code == 9
    assert box.error("WaitExec", exec_id=int(number), wait_ms=70000).code == 3


def test_output_is_followed_to_its_end(box):
    number = box.detach("sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done; echo err >&2")
    got, position = b"", 0
    while True:
        part = box.call("ReadExecOutput", exec_id=number, position=position, wait_ms=30000)
        got += part["data"]
        position = part["position"] + len(part["data"])
        if part["end"]:
            break
    assert got == b"1\n2\n3\n"
    assert box.call("ReadExecOutput", exec_id=number, stderr=True, wait_ms=30000)["data"] == b"err\n"
    theirs, ours = sandboxes.pipes()
    attached = box.call("Exec", args=["true"], streams="ATTACHED", detach=True, fds=theirs)
    assert box.error("ReadExecOutput", exec_id=attached["exec"]["exec_id"]).code == 9
    for end in theirs + ours:
        os.close(end)


def test_signals_reach_the_group(spored, box):
    number = box.detach("sh", "-c", "trap 'echo caught; exit 3' TERM; echo up; while :; do sleep 0.05; done")
    daemon.wait_until(lambda: box.call("ReadExecOutput", exec_id=number)["data"] == b"up\n", what="it is up")
    assert spored.cli("sandbox", "signal", box.id, number, "TERM").code == 0
    assert spored.cli("sandbox", "wait", box.id, number).code == 3
    assert box.error("SignalExec", exec_id=number, signal=65).code == 3


def on_terminal(spored, box, *command, controlling=True, rows=40, columns=100):
    """`spore sandbox exec -it` on a terminal of the test's: (process, master)."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (rows, columns))
    # Without being its controlling terminal, it would tell of no change of size.
    controlled = ["setsid", "--ctty"] if controlling else []
    process = subprocess.Popen([*controlled, *spore(spored, "exec", "-it", box.id, "--", *command)],
                               stdin=slave, stdout=slave, stderr=slave, env=daemon.environment(),
                               start_new_session=not controlling)
    os.close(slave)
    return process, master


def read_until(master, words, seconds=60):
    text, end = b"", time.monotonic() + seconds
    while words not in text:
        ready, _, _ = select.select([master], [], [], max(0, end - time.monotonic()))
        assert ready, text
        try:
            text += os.read(master, 4096)
        except OSError as error:  # hung up: nothing more comes
            raise AssertionError(text) from error
    return text


def test_a_terminal_with_sizes_and_signals(spored, box):
    process, master = on_terminal(spored, box, "python3", "-u", "-c", """
import os, signal, sys, time
signal.signal(signal.SIGWINCH, lambda *_: print("size", os.get_terminal_size(), flush=True))
print("tty", os.isatty(0), os.isatty(1), os.get_terminal_size(), os.tcgetpgrp(0) == os.getpgrp())
try:
    while True: time.sleep(0.05)
except KeyboardInterrupt:
    print("interrupted")
    sys.exit(9)
""")
    try:
        assert b"tty True True os.terminal_size(columns=100, lines=40) True" in read_until(master, b"\n")
        termios.tcsetwinsize(master, (50, 120))
        read_until(master, b"size os.terminal_size(columns=120, lines=50)")
        os.write(master, b"\x03")  # Ctrl-C goes through both terminals' line disciplines
        read_until(master, b"interrupted")
        assert process.wait(60) == 9
    finally:
        process.kill()
        os.close(master)


def test_nothing_can_be_typed_into_the_terminal(spored, box):
    process, master = on_terminal(spored, box, "python3", "-u", "-c", """
import fcntl, termios
for name in ("TIOCSTI",):
    try:
        fcntl.ioctl(0, termios.TIOCSTI, b"x")
        print("typed")
    except OSError as error:
        print("refused", error.errno)
try:
    print(open("/dev/tty").read(1))
except OSError as error:
    print("tty", error.errno)
""")
    try:
        text = read_until(master, b"tty")
        assert b"refused 1" in text and b"typed" not in text
        assert process.wait(60) == 0
    finally:
        process.kill()
        os.close(master)


@pytest.mark.parametrize("controlling", (True, False))
def test_a_terminal_that_hangs_up_ends_its_program(spored, box, controlling):
    process, master = on_terminal(spored, box, "sleep", "323", controlling=controlling)
    try:
        daemon.wait_until(lambda: any("323" in p["args"] for p in box.processes()), what="it runs")
        os.close(master)
        daemon.wait_until(lambda: not any("323" in p["args"] for p in box.processes()), what="it ends")
        assert process.wait(60) == 129
    finally:
        process.kill()
        process.wait()


def test_much_is_typed_while_much_is_written(spored, box):
    process, master = on_terminal(spored, box, "python3", "-c", """
import sys, tty
tty.setraw(0)
sys.stdout.write("ready" + "y" * 300_000); sys.stdout.flush()
n = 0
while n < 300_000: n += len(sys.stdin.buffer.read1(65536))
print("took", n)
""")
    os.set_blocking(master, False)
    try:
        text, left, end = b"", b"", time.monotonic() + 180
        while b"took 300000" not in text and time.monotonic() < end:
            readable, writable, _ = select.select([master], [master] if left else [], [], 1)
            if readable:
                part = os.read(master, 65536)
                left = left or (b"x" * 300_000 if b"ready" in text[-4:] + part else b"")
                text += part
            if writable:
                left = left[os.write(master, left):]
        assert b"took 300000" in text, (len(text), len(left))
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_a_program_that_leaves_its_terminal_is_waited_for(spored, box):
    box.exec("mkfifo", "/tmp/on")
    process, master = on_terminal(spored, box, "sh", "-c", "exec < /dev/null > /tmp/left 2>&1; read x < /tmp/on; exit 6")
    try:
        # The writer is let go once the program reads, and it has left by then.
        box.exec("sh", "-c", "echo > /tmp/on")
        assert process.wait(60) == 6
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_a_thousand_programs_one_after_the_other(box):
    with box.spored.client(300) as client:
        for i in range(1000):
            done = client.call("Sandboxes", "Exec", {"id": box.id, "args": ["true"], "streams": "KEPT"})
            assert done["exec"]["exit_code"] == 0, (i, done)
    daemon.wait_until(lambda: not [p for p in box.processes() if p["state"] == "Z"], what="no zombies")
    assert len(box.call("ListExecs")["execs"]) <= 64 + 3


def test_many_at_once(box):
    asking = [sandboxes.Asking(box, "Exec", args=["sh", "-c", f"sleep 0.3; echo {i}"], streams="KEPT") for i in range(30)]
    assert [a.get()["stdout"] for a in asking] == [b"%d\n" % i for i in range(30)]


def test_orphans_are_reaped_and_stay(box):
    box.out("(sleep 324 &) ; (true &) ; true")
    daemon.wait_until(lambda: any("324" in p["args"] for p in box.processes()), what="it stays")
    daemon.wait_until(lambda: not [p for p in box.processes() if p["state"] == "Z"], what="no zombies")
    box.shell("pkill -f 324 || kill $(pidof sleep)")


def test_other_images(spored):
    with sandboxes.sandbox(spored, image="native") as box:
        assert box.out("echo native") == "native\n"
        error = box.error("RunCode", code="1")
        assert error.code == 9 and "image native (native) runs no pieces of code" in error.message
        assert box.inspect()["language"] == ""


def test_help_names_the_commands(spored):
    text = spored.cli("sandbox", "--help").out
    for name in ("create", "exec", "run-code", "cp", "watch", "pause", "extend"):
        assert name in text


