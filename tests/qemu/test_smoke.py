"""The daemon on cgroup v2 alone: that it works, and that the v2 limits are set and bite.

Runs inside the emulated machine (tests/qemu/run.py); on a v2 host it runs as it is.
"""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
import daemon  # noqa: E402

MIB = 1 << 20
HANDLERS = {"app.py": '''
import os, time

def hello(event, context):
    return {"message": "hello, " + event["name"], "pid": os.getpid()}

def eat_memory(event, context):
    hog = []
    while True:
        hog.append(bytearray(b"x" * (1 << 20)))

def fork_without_end(event, context):
    children = 0
    try:
        while True:
            if os.fork() == 0:
                time.sleep(600)
            children += 1
    except OSError as error:
        return {"children": children, "errno": error.errno}

def sleep(event, context):
    time.sleep(600)
'''}


@pytest.fixture(scope="module")
def spored():
    server = daemon.Spored()
    try:
        server.start()
        yield server
        code = server.stop()
        daemon.wait_until(lambda: not server.residue(), 60, "nothing left behind")
        assert code == 0, server.log_text()
    finally:
        server.stop(9)
        server.remove()


def deploy(spored, handler, isolation="ISOLATION_INVOCATION", **limits):
    name = handler.replace("_", "-")
    spored.deploy(name, HANDLERS, handler="app." + handler, isolation=isolation,
                  limits={"timeout_ms": 120000, **limits})
    return name


def test_layout_is_v2(spored):
    assert spored.call("System", "Info")["cgroup_layout"] == "v2"


def test_fresh_sandbox_answers(spored):
    name = deploy(spored, "hello")
    for person in ("ada", "grace"):
        response = spored.invoke(name, {"name": person})
        assert response["error"] is None, response["error"]
        assert response["result"] == {"message": "hello, " + person, "pid": 2}


def test_limits_are_in_the_cgroup(spored):
    spored.deploy("kept", HANDLERS, handler="app.hello", isolation="ISOLATION_INSTANCE",
                  limits={"memory_bytes": 96 * MIB, "cpu_millis": 500, "pids": 23,
                          "timeout_ms": 120000})
    spored.result("kept", {"name": "ada"})
    (instance,) = spored.instances(function="kept")
    (directory,) = [pathlib.Path(p) for p in instance["cgroups"]]

    def value(file):
        return (directory / file).read_text().strip()

    assert value("memory.max") == str(96 * MIB)
    # The file is there only where the kernel has swap accounting.
    assert not (directory / "memory.swap.max").exists() or value("memory.swap.max") == "0"
    assert value("pids.max") == "23"
    quota, period = value("cpu.max").split()
    assert int(quota) * 2 == int(period)
    assert str(instance["pid"]) in value("cgroup.procs").split()


def test_memory_limit_ends_the_instance(spored):
    error = spored.failure(deploy(spored, "eat_memory", memory_bytes=64 * MIB), {})
    assert error["type"] == "Runtime.OutOfMemory"
    assert error["death"]["usage"]["memory_peak_bytes"] <= 64 * MIB


def test_pids_limit_holds(spored):
    result = spored.result(deploy(spored, "fork_without_end", pids=16), {})
    assert 0 < result["children"] < 16


def test_timeout_kills(spored):
    error = spored.failure(deploy(spored, "sleep", timeout_ms=2000), {})
    assert error["type"] == "Sandbox.Timedout"


def program(spored, padding=0):
    path = spored.directory / "job"
    path.write_bytes(b'#!/bin/sh\nread line\necho "$0 $line"\nexit 7\n' + bytes(padding))
    path.chmod(0o755)
    return path


def test_program_runs(spored):
    done = spored.cli("run", "--timeout", "120s", "--", program(spored), input=b"in\n", timeout=180)
    assert (done.code, done.out) == (7, "/var/task/job in\n"), done


def test_program_counts_as_memory(spored):
    """The kernel charges what it holds to the sandbox that has written it."""
    done = spored.cli("run", "--timeout", "120s", "--memory", "16M", "--",
                      program(spored, 16 * MIB - 200_000), timeout=180)
    assert done.code == 137 and "memory" in done.err, done


def test_nothing_runs_on_afterwards(spored):
    spored.remove_function("fork-without-end")
    daemon.wait_until(
        lambda: not [i for i in spored.instances() if i["function"] == "fork-without-end"], 60,
        "the sandbox is gone")
