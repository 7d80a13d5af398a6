"""spored as a service: readiness, socket activation, settings that change how it works."""
import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import daemon
import pytest

HELLO = "def handler(e, c):\n    return 'hello'\n"


def leave_nothing(server):
    try:
        server.check_end()
    finally:
        server.stop(9)
        server.remove()


@pytest.mark.parametrize("config", [
    {"favordynmods": False}, {"ready-sandboxes": 0}, {"ready-sandboxes": 1}, {"dead-kept": 0},
    {"limits": {"memory-bytes": "64MiB"}}, {"max-instances": 1, "max-queue": 0},
], ids=str)
def test_settings(config):
    server = daemon.Spored(config)
    try:
        server.start()
        server.deploy("hello", {"app.py": HELLO}, isolation="ISOLATION_INVOCATION")
        for _ in range(4):
            assert server.result("hello") == "hello"
            daemon.wait_until(lambda: not server.instances(), what="it is gone")
    finally:
        leave_nothing(server)


def test_limits_of_the_configuration_are_defaults_and_bounds():
    server = daemon.Spored({"limits": {"pids": 20}, "max-limits": {"pids": 30}})
    try:
        server.start()
        function = server.deploy("hello", {"app.py": HELLO})
        assert function["settings"]["limits"]["pids"] == 20
        with pytest.raises(daemon.ttrpc.RpcError) as caught:
            server.deploy("greedy", {"app.py": HELLO}, limits={"pids": 31})
        assert "pids" in caught.value.message and "30" in caught.value.message
    finally:
        leave_nothing(server)


def test_readiness_is_told_to_the_service_manager(tmp_path):
    server = daemon.Spored()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        try:
            server.start({"NOTIFY_SOCKET": str(tmp_path / "notify")})
            assert b"READY=1" in manager.recv(4096)
            server.process.send_signal(signal.SIGTERM)
            assert b"STOPPING=1" in manager.recv(4096)
        finally:
            leave_nothing(server)


def test_socket_activation():
    """A socket that somebody else listens on is served, and outlives the daemon."""
    server = daemon.Spored()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(server.socket))
    listening.listen()
    command = ["/bin/bash", "-c", f'exec 3<&{listening.fileno()}; LISTEN_PID=$$ exec "$@"', "bash",
               daemon.find_program("spored"), "--config", str(server.config), "--state",
               str(server.state)]
    try:
        with open(server.log, "ab") as log:
            server.process = subprocess.Popen(
                command, pass_fds=[listening.fileno()], stdout=log, stderr=log,
                env={**daemon.environment(), "LISTEN_FDS": "1"})
        server.deploy("hello", {"app.py": HELLO})
        assert server.result("hello") == "hello"
        assert server.stop() == 0
        assert os.path.exists(server.socket)
    finally:
        listening.close()
        os.unlink(server.socket)
        leave_nothing(server)


def test_without_privileges_it_says_so():
    server = daemon.Spored()
    done = subprocess.run(
        ["setpriv", "--reuid=48213", "--regid=48213", "--clear-groups",
         daemon.find_program("spored"), "--config", str(server.config)],
        capture_output=True, text=True, timeout=60, env=daemon.environment())
    server.remove()
    assert done.returncode != 0 and "root" in done.stderr, done.stderr


def test_requests_in_progress_end_when_it_stops():
    server = daemon.Spored()
    try:
        server.start()
        server.deploy("slow", {"app.py": "import time\ndef handler(e, c):\n    time.sleep(60)\n"})
        with server.client() as client:
            client.send("Invocations", "Invoke", {"name": "slow"})
            daemon.wait_until(lambda: server.instances(), what="it runs")
            server.process.send_signal(signal.SIGTERM)
            try:
                error = client.answer("InvokeResponse", client.receive()[2])["error"]
                assert error["death"]["cause"] == "DAEMON", error
            except daemon.ttrpc.RpcError as refused:
                assert refused.code == daemon.ttrpc.CODES["UNAVAILABLE"]
    finally:
        leave_nothing(server)


def test_nothing_wakes_up_while_nothing_is_asked():
    """Neither spored nor what it has waiting; also not after output was cut off."""
    server = daemon.Spored()
    try:
        server.start()
        server.deploy("loud", {"app.py": "import os\ndef handler(e, c):\n"
                                         "    return os.write(1, b'x' * 100000)\n"},
                      limits={"output_bytes": 1000, "idle_ms": 600000})
        assert server.result("loud") == 100000

        def wakes():
            """How often each thread has gone to sleep of itself."""
            found = {}
            for pid in [server.process.pid, *server.tenant_processes()]:
                with contextlib.suppress(OSError):  # one that has ended meanwhile
                    for task in os.listdir(f"/proc/{pid}/task"):
                        status = pathlib.Path(f"/proc/{pid}/task/{task}/status").read_text()
                        found[task] = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.M)[1]
            return found

        def quiet():
            before = wakes()
            time.sleep(1)  # a timer of a second or less shows
            return wakes() == before

        daemon.wait_until(lambda: len(server.tenant_processes()) > 4, what="some wait")
        daemon.wait_until(quiet, what="a second without a single wake-up")
    finally:
        leave_nothing(server)
