"""What a tenant or a client finds at the edges: streams, channels, logs of a name's earlier life."""
import concurrent.futures
import os
import signal
import socket
import struct
import time

import daemon
import pytest

CODE = '''
import os, resource, sys, time

def attempt(path, flags):
    try:
        os.close(os.open(path, flags))
        return "DONE"
    except OSError as error:
        return type(error).__name__

def streams(event):
    with open("/dev/stdout", "w") as out, open("/dev/stderr", "a") as err:
        print("by name", file=out)
        print("error by name", file=err)
    return {"read": attempt("/dev/stdout", os.O_RDONLY), "both": attempt("/dev/stderr", os.O_RDWR)}

def inherited(event):
    os.system("ls -l /proc/self/fd > /tmp/found")
    return open("/tmp/found").read()

def core(event):
    return resource.getrlimit(resource.RLIMIT_CORE)

def pending(event):
    """Queues real-time signals to itself, blocked, until the kernel takes no more."""
    import ctypes, errno, signal
    libc = ctypes.CDLL(None, use_errno=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
    queued = 0
    while queued < 5000 and libc.sigqueue(os.getpid(), signal.SIGRTMIN, None) == 0:
        queued += 1
    return {"limit": resource.getrlimit(resource.RLIMIT_SIGPENDING), "queued": queued,
            "error": errno.errorcode.get(ctypes.get_errno())}

def closes_output(event):
    print("nobody reads this")
    os.close(1)
    return "answered"

def closes_channel(event):
    os.close(3)
    time.sleep(event.get("seconds", 0))
    return "never answered"

def takes_channels_place(event):
    os.close(3)
    return os.open("/tmp/other", os.O_CREAT | os.O_RDWR)

def surrogate(event):
    raise ValueError("half of \\ud83d, all of \\U0001f600")

def long_report(event):
    def deep(n):
        if n == 0:
            raise ValueError("\\U0001f600" * 100000)
        text = "def %s(n, deep): deep(n - 1)" % ("f" * 4000)
        exec(compile(text, "\\x01" * 200, "exec"), globals())
        globals()["f" * 4000](n, deep)
    deep(100)

def slow(event):
    print("a secret", flush=True)
    time.sleep(30)

def handler(event, context):
    return globals()[event["do"]](event)
'''


@pytest.fixture(scope="module")
def edges(spored):
    spored.deploy("edges", {"app.py": CODE}, isolation="ISOLATION_INVOCATION")

    def call(name, **event):
        return spored.invoke("edges", {"do": name, **event}, log_tail=True)

    return call


def test_output_can_be_opened_by_name_but_not_read(edges):
    response = edges("streams")
    assert response["result"] == {"read": "PermissionError", "both": "PermissionError"}
    tail = bytes(response["log_tail"]).decode().splitlines()
    assert "by name" in tail and "error by name" in tail


def test_output_of_a_run_can_be_opened_by_name(spored):
    script = b"for s in ('out', 'err'):\n    print('by name', file=open('/dev/std' + s, 'w'))\n"
    done = spored.cli("run", "--runtime", "python", "-", input=script)
    assert (done.code, done.out, done.err) == (0, "by name\n", "by name\n"), done


def test_files_of_a_client_keep_their_mode(spored, tmp_path):
    """Only a pipe without a name is made writable to the sandbox."""
    fifo, plain = tmp_path / "fifo", tmp_path / "plain"
    os.mkfifo(fifo, 0o600)
    plain.touch(0o600)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    unreadable, write_end = os.pipe()
    descriptors = [os.open(os.devnull, os.O_RDONLY), os.open(fifo, os.O_WRONLY),
                   os.open(plain, os.O_WRONLY)]
    script = b"print('to the fifo')\n"
    values = {"runtime": "python", "script": script}
    death = spored.call("Invocations", "Run", values, descriptors)["death"]
    assert death["cause"] == "EXIT" and death["exit_code"] == 0, death
    assert os.read(reader, 100) == b"to the fifo\n"
    # The reading end of a pipe, passed as an output: it gives no right to write.
    spored.call("Invocations", "Run", values, [descriptors[0], unreadable, unreadable])
    for path in (fifo, plain):
        assert path.stat().st_mode & 0o777 == 0o600
    assert os.fstat(write_end).st_mode & 0o777 == 0o600
    for descriptor in [*descriptors, reader, unreadable, write_end]:
        os.close(descriptor)


def test_programs_that_a_tenant_starts_do_not_get_its_channel(edges):
    assert "socket:" not in edges("inherited")["result"]


def test_a_crash_starts_no_program_of_the_host(edges):
    """1 is what the kernel looks for; with 0 it would start a core_pattern's program (core(5))."""
    assert edges("core")["result"] == [1, 1]


def test_queued_signals_are_bounded(edges):
    """They count for the user namespace, which an image's sandboxes share."""
    found = edges("pending")["result"]
    assert found["limit"] == [1024, 1024]
    assert 0 < found["queued"] <= 1024 and found["error"] == "EAGAIN", found


def test_closed_output_keeps_no_answer_back(edges):
    assert edges("closes_output")["result"] == "answered"


@pytest.mark.parametrize("how", ["closes_channel", "takes_channels_place"])
def test_who_closes_the_request_channel_is_told_so(edges, how):
    error = edges(how)["error"]
    assert error["death"]["cause"] == "PROTOCOL", error
    assert "it closed its request channel" in error["message"]


def test_who_closes_the_request_channel_and_goes_on_is_ended(edges):
    begin = time.monotonic()
    error = edges("closes_channel", seconds=28)["error"]
    assert "it closed its request channel" in error["message"], error
    assert time.monotonic() - begin < 27


def test_error_that_utf8_cannot_hold_is_told_all_the_same(edges):
    error = edges("surrogate")["error"]
    assert (error["type"], error["message"]) == ("ValueError", "half of ?, all of \U0001f600")
    assert any("in surrogate" in line for line in error["stack_trace"])


def test_error_report_of_any_length_fits(edges):
    error = edges("long_report")["error"]
    assert error["type"] == "ValueError" and error["message"].startswith("\U0001f600" * 1000)


def texts_of(answer):
    return [bytes(line["text"]).decode() for line in answer["lines"]]


def test_logs_of_a_names_earlier_life_are_not_the_next_ones(spored):
    """The dying instance of a removed function writes on after its log was forgotten."""
    spored.deploy("reborn", {"app.py": CODE})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        ending = pool.submit(spored.failure, "reborn", {"do": "slow"})
        daemon.wait_until(lambda: any("a secret" in text for text in texts_of(
            spored.call("Logs", "Read", {"function": "reborn"}))), what="it runs")
        spored.remove_function("reborn")
        spored.deploy("reborn", {"app.py": CODE})
        assert ending.result()["death"]["cause"] == "KILLED"
    daemon.wait_until(lambda: not [i for i in spored.instances() if i["function"] == "reborn"],
                      what="its instance is gone")
    assert texts_of(spored.call("Logs", "Read", {"function": "reborn"})) == []
    spored.remove_function("reborn")


def test_reader_of_a_removed_functions_log_gets_nothing_of_the_next(spored):
    spored.deploy("silent", {"app.py": CODE})
    with spored.client() as reader:
        waiting = reader.send("Logs", "Read", {"function": "silent", "wait_ms": 60000})
        asked = reader.send("System", "Info", {})
        assert reader.receive()[0] == asked  # so the other one waits: there are no lines yet
        spored.remove_function("silent")
        spored.deploy("silent", {"app.py": CODE})
        spored.result("silent", {"do": "core"})
        stream, _, body = reader.receive()
        assert stream == waiting and texts_of(reader.answer("ReadLogsResponse", body)) == []
    spored.remove_function("silent")


def lingering_socket():
    """A TCP socket with data that nobody takes: its last close waits for so many seconds."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        sending = socket.create_connection(listening.getsockname())
        receiving, _ = listening.accept()
    sending.setblocking(False)
    try:
        while True:
            sending.send(bytes(1 << 16))
    except BlockingIOError:
        pass
    sending.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
    return sending.detach(), receiving


@pytest.mark.parametrize("how", ["unclaimed", "too many", "archive", "run"])
def test_descriptor_that_is_slow_to_close_keeps_nobody_waiting(spored, how):
    descriptor, receiving = lingering_socket()
    client = spored.client()
    client.call("System", "Info")
    # It stands still until ours is closed, so that its own is the last.
    spored.process.send_signal(signal.SIGSTOP)
    if how == "unclaimed":
        client.send("System", "Info", {}, [descriptor])
    elif how == "too many":
        client.send("System", "Info", {}, [descriptor] * 200)
    elif how == "archive":
        client.send("Functions", "Deploy", {"name": "slow", "settings": {
            "runtime": "python", "handler": "app.handler"}}, [descriptor])
    else:
        client.send("Invocations", "Run", {"runtime": "python", "script": b""}, [descriptor] * 3)
    os.close(descriptor)
    spored.process.send_signal(signal.SIGCONT)
    time.sleep(0.3)
    client.close()
    begin = time.monotonic()
    for _ in range(3):
        spored.call("System", "Info")
        time.sleep(0.1)
    assert time.monotonic() - begin < 50
    receiving.close()  # ends the waiting
