"""Supervisors that die in a dump or restore, zygotes that die while they are copied, sandboxes that cannot be made ahead, a host
that is short of memory while everything is busy: no accepted request is lost without an error, and the next is served.
"""
import contextlib
import json
import os
import pathlib
import re
import signal
import threading
import time

import daemon
import pytest
import ttrpc
from test_checkpoints import PYTHON, SPORED_CONFIG, checkpoints, create, evict, warm, zygote

SHORT = 1 << 44  # no host has so much available
SLEEPS = {"app.py": "import time\ndef handler(e, c):\n    time.sleep(e)\n    return e\n"}


@pytest.fixture
def server():
    with daemon.Spored(SPORED_CONFIG).running() as started:
        started.deploy("f", PYTHON, isolation="ISOLATION_INVOCATION")
        yield started


def in_background(server, service, method, values):
    """Its outcome, once it is there, in the list."""
    outcome = []

    def call():
        try:
            outcome.append(server.call(service, method, values))
        except (ttrpc.RpcError, OSError) as error:
            outcome.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    return thread, outcome


def supervisors(server):
    found = set()
    for pid, name in server.tenant_processes().items():
        with contextlib.suppress(OSError):
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            # The first of a pid namespace, but not of a sandbox's within.
            if name == "spore-zygote" and len(re.search(r"^NSpid:(.*)$", status, re.M)[1].split()) == 2:
                found.add(pid)
    return found


def kill_later(victims, delay, outcome):
    """Unless it is all over."""
    if outcome:
        return
    time.sleep(delay)
    for victim in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)


def made_one(server):
    """Once what is left of the one before has gone."""
    try:
        return create(server, "python")
    except ttrpc.RpcError as error:
        assert "is being made" in str(error)


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.25, 0.5])
def test_the_supervisor_is_killed_in_a_dump(server, delay):
    serving = warm(server, "python")["pid"]
    before = supervisors(server)
    thread, outcome = in_background(server, "Checkpoints", "Create", {"image": "python"})
    victims = daemon.wait_until(lambda: supervisors(server) - before or outcome, what="one is started for the dump")
    kill_later(victims, delay, outcome)
    thread.join()
    # It may have been done by then.
    if isinstance(outcome[0], ttrpc.RpcError):
        assert "is gone" in str(outcome[0]) and checkpoints(server) == {}, outcome
        daemon.wait_until(lambda: made_one(server), what="the next one is made")
    assert len(checkpoints(server)) == 1
    assert zygote(server, "python")["pid"] == serving and server.result("f", [1])["sum"] == 1
    daemon.wait_until(lambda: not [p.name for p in (server.state / "checkpoints").iterdir() if p.name.startswith(".")],
                      what="nothing half made is left")


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.2])
def test_the_supervisor_is_killed_in_a_restore(server, delay):
    create(server, "python")
    if zygote(server, "python"):
        evict(server, "python")
    daemon.wait_until(lambda: not server.tenant_processes(), what="nothing runs")
    thread, outcome = in_background(server, "Invocations", "Invoke", {"name": "f", "payload": b"[2]"})
    victims = daemon.wait_until(lambda: supervisors(server) or outcome, what="one is started")
    kill_later(victims, delay, outcome)
    thread.join()
    if isinstance(outcome[0], ttrpc.RpcError):
        assert outcome[0].code in (ttrpc.CODES["FAILED_PRECONDITION"], ttrpc.CODES["UNAVAILABLE"]), outcome

    def served():
        # The one who is killed may have served already, and then takes a call along that tells so.
        with contextlib.suppress(ttrpc.RpcError, AssertionError):
            return server.result("f", [3])["sum"] == 3

    daemon.wait_until(served, what="the next request is served")


def test_the_zygote_is_killed_while_it_is_copied(server):
    """Of what was asked meanwhile each is answered: by a result, or by an error that says why."""
    warm(server, "python")
    answers, errors = [], []
    over = threading.Event()

    def ask():
        with server.client() as client:
            while not over.is_set():
                try:
                    answer = client.call("Invocations", "Invoke", {"name": "f", "payload": b"[1, 1]"})
                    answers.append(json.loads(answer["payload"])["sum"] if not answer["error"] else answer["error"])
                except ttrpc.RpcError as error:
                    errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        serving = daemon.wait_until(lambda: zygote(server, "python"), what="a zygote serves")
        count = len(answers)
        daemon.wait_until(lambda: len(answers) > count, what="it is being copied")
        with contextlib.suppress(ProcessLookupError):
            os.kill(serving["pid"], signal.SIGKILL)
        daemon.wait_until(lambda: (zygote(server, "python") or serving)["pid"] != serving["pid"], what="another serves")
    over.set()
    for thread in threads:
        thread.join()
    assert set(map(str, answers)) == {"2"}, set(map(str, answers))
    assert all("python" in str(error) for error in errors), errors
    assert server.result("f", [5])["sum"] == 5


def test_sandboxes_cannot_be_made_ahead(server):
    """The pool's refill fails as long as the image may have no more processes, and goes on when it may."""
    warm(server, "python")
    daemon.wait_until(lambda: server.stats()["sandboxes_ready"] >= 2, what="both are ready")
    group = next(path for path in daemon.cgroups_named(server.cgroup) if (pathlib.Path(path) / "pids.max").exists())
    limit = pathlib.Path(group) / "pids.max"
    before = limit.read_text()
    limit.write_text("1")
    try:
        outcomes = []
        for _ in range(4):
            try:
                outcomes.append(server.result("f", [1], patience=180)["sum"])
            except (ttrpc.RpcError, AssertionError) as error:
                outcomes.append(str(error))
        assert 1 in outcomes, "the first two were ready"
        refused = [text for text in outcomes if text != 1]
        assert refused and all("python" in text or "Resource temporarily unavailable" in text for text in refused), \
            outcomes
    finally:
        limit.write_text(before)

    def served():
        with contextlib.suppress(ttrpc.RpcError):
            return server.result("f", [7])["sum"] == 7

    daemon.wait_until(served, what="the next request is served")
    daemon.wait_until(lambda: server.stats()["sandboxes_ready"] >= 2, what="the pool is full again")


def test_memory_is_short_while_everything_is_busy():
    """There is nothing to end: what runs goes on, what comes is served, and so are those who come when it has ended."""
    with daemon.Spored({"memory-reserve": SHORT, **SPORED_CONFIG}).running() as server:
        server.deploy("sleeps", SLEEPS)
        with server.client() as client:
            for _ in range(3):
                client.send("Invocations", "Invoke", {"name": "sleeps", "payload": b"7"})
            busy = daemon.wait_until(lambda: (lambda found: found if len(found) == 3 else None)(
                {i["id"] for i in server.instances(function="sleeps") if i["state"] == "BUSY"}), what="all are busy")
            serving = (zygote(server, "python") or {}).get("pid")
            # It looks every five seconds.
            assert server.result("sleeps", 0) == 0
            answers = [client.answer("InvokeResponse", client.receive()[2]) for _ in range(3)]
        assert [a["payload"] for a in answers] == [b"7"] * 3 and {a["instance_id"] for a in answers} == busy
        assert (zygote(server, "python") or {}).get("pid") == serving or "its zygote is evicted" in server.log_text()
        assert server.result("sleeps", 0) == 0
