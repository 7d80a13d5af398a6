"""The hostile programs again, in native sandboxes: started by a native function, and as programs."""
import io
import json
import os
import pathlib
import subprocess
import zipfile

import daemon
import natives
import pytest
# Every test there takes its victims from the fixture below.
from test_isolation import *  # noqa: F403
from test_isolation import REFUSED, assert_proc_is_of_the_sandbox, assert_refused

VICTIMS = pathlib.Path(__file__).parents[1] / "victims"
# These ask about Python functions, not about victims; below are others in their place.
del test_every_sandbox_has_an_identity_of_its_own  # noqa: F821
del test_neighbour_cannot_be_found_signalled_or_reached  # noqa: F821
del test_no_instance_decides_what_code_others_run  # noqa: F821


def executable_zip(path):
    """All of the victims as one file that can be executed."""
    buffer = io.BytesIO(b"#!/usr/bin/python3 -B\n")
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a") as archive:
        for source in sorted(VICTIMS.glob("*.py")):
            name = "__main__.py" if source.name == "main.py" else source.name
            archive.writestr(name, source.read_text())
    path.write_bytes(buffer.getvalue())
    path.chmod(0o755)
    return path


def outcomes(spored, program):
    """What a C victim tells, run as a program."""
    done = spored.cli("run", "--", natives.program(program + ".c", "-static", folder=VICTIMS / "native"))
    found = dict(line.split(None, 1) for line in done.out.splitlines())
    return {**found, "exit": str(done.code)}


@pytest.fixture(scope="module", params=["function", "program"])
def victims(request, spored, victim_archive, tmp_path_factory):
    if request.param == "function":
        with zipfile.ZipFile(io.BytesIO(victim_archive)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        spored.deploy("victims", {**files, "lib.so": natives.library("handlers.c")}, runtime="native",
                      handler="lib.so:runs_victims", isolation="ISOLATION_INVOCATION",
                      limits={"memory_bytes": 256 << 20, "timeout_ms": 30000})
        yield lambda victim, **event: spored.result("victims", {"victim": victim, **event})
        spored.remove_function("victims")
        return
    program = executable_zip(tmp_path_factory.mktemp("program") / "victims")

    def call(victim, **event):
        if victim == "programs":
            return {name: outcomes(spored, name) for name in event["programs"]}
        done = spored.cli("run", "--memory", "256M", "--", program,
                          input=json.dumps({"victim": victim, **event}).encode())
        assert done.code == 0, done
        return done.json()

    yield call


def test_proc_shows_the_sandbox_alone(victims):
    found = victims("proc_view")
    # The init, the function's process, and the one that it has started.
    assert_proc_is_of_the_sandbox(found, 3)


def test_nothing_but_tmp_can_be_written(host_files):
    # As a program, the victims are a single file.
    assert_refused(host_files["overwrite"], REFUSED | {"ENOTDIR"})
    assert host_files["writable"] == []


def test_signal_to_everybody_stays_inside(spored, victims, request):
    name = "bystander-of-" + request.node.callspec.params["victims"]
    spored.deploy(name, {"lib.so": natives.library("handlers.c")}, runtime="native",
                  handler="lib.so:nothing")
    before = spored.invoke(name)
    try:
        victims("everybody")
    except AssertionError as error:  # the function that has started it was signalled as well
        assert "SIGTERM" in str(error)
    after = spored.invoke(name)
    assert after["instance_id"] == before["instance_id"] and spored.process.poll() is None


def test_neighbouring_programs_cannot_find_each_other(spored, tmp_path):
    program = executable_zip(tmp_path / "victims")
    settling = subprocess.Popen(
        [daemon.find_program("spore"), "--socket", spored.socket, "run", "--memory", "256M", "--",
         program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=daemon.environment())
    settling.stdin.write(json.dumps({"victim": "neighbours", "settle": "settled",
                                     "seconds": 60}).encode())
    settling.stdin.close()
    pid = daemon.wait_until(lambda: [i["pid"] for i in spored.instances()
                                     if i["pid"] and not i["function"]],
                            what="it runs")[0]
    daemon.wait_until(lambda: os.path.exists(f"/proc/{pid}/root/tmp/settled"),
                      what="it has settled")
    done = spored.cli("run", "--memory", "256M", "--", program, input=json.dumps(
        {"victim": "neighbours", "seek": "settled", "pids": [pid, os.getpid(), 1 << 20]}).encode())
    assert done.code == 0, done
    assert_refused(done.json(), REFUSED | {"ECONNREFUSED"})
    pathlib.Path(f"/proc/{pid}/root/tmp/settled").unlink()
    made = json.loads(settling.stdout.read())
    assert settling.wait(60) == 0 and made["pid"] == 2


def test_every_program_has_an_identity_of_its_own(spored):
    waiting = natives.program("acts.c")
    started = [subprocess.Popen([daemon.find_program("spore"), "--socket", spored.socket, "run", "--",
                                 waiting, "waits"], stdout=subprocess.PIPE, env=daemon.environment())
               for _ in range(3)]
    try:
        for process in started:
            assert process.stdout.readline() == b"waiting\n"
        running = [i for i in spored.instances() if i["pid"] and not i["function"]]
        assert len({i["uid"] for i in running}) == 3, running
        for kind in ("pid", "mnt", "ipc", "uts", "net", "cgroup"):
            spaces = {os.readlink(f"/proc/{pid}/ns/{kind}")
                      for pid in [os.getpid(), *(i["pid"] for i in running)]}
            assert len(spaces) == 4, kind
    finally:
        for process in started:
            process.terminate()
            process.communicate()
