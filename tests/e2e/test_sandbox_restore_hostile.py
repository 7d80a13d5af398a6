"""Restores by a CRIU that images have taken over: it wins nothing over what a tenant has, whatever it
leaves is looked at, and what is refused leaves nothing."""
import contextlib
import os
import re
import socket
import struct

import daemon
import pytest
import restores

SPORED_CONFIG = {"max-instances": 40, "sessions": {"egress": ["*:*"]}}
FILTERS = 4  # what CRIU ran under, and the three of every session
# One thread without anything: a header, then an entry of a length, of one field of the first kind.
THREAD = b"\x11\x22\x33\x44\x55\x66\x77\x88" + struct.pack("<I", 2) + b"\x08\x01"


@pytest.fixture
def empty(spored):
    made = restores.Empty(spored)
    yield made
    made.end()


@pytest.fixture(scope="module")
def criu():
    with restores.hostile_criu() as usr:
        yield usr


def attempt(empty, criu, mode, **settings):
    images = {"core-50.img": THREAD, "mode": mode.encode()}
    return restores.restore(empty, criu, images, **settings)


def refused(empty, criu, mode, expected, **settings):
    done = attempt(empty, criu, mode, **settings)
    assert done.code == 0 and not done.fds, done
    assert re.search(expected, done.error), done
    assert empty.view() == empty.before
    return done


def facts_of(thread):
    """Its status; empty once it has ended, which what was restored may do at any time."""
    with contextlib.suppress(OSError), open(f"/proc/{thread}/status", encoding="utf-8", errors="replace") as file:
        facts = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        return {} if facts["State"][0] in "XZ" else facts
    return {}


def assert_confined(empty, lives=True):
    """Of all that has been restored there; `lives`: something of it must be left."""
    expected = {"Uid": "\t".join([str(empty.uid)] * 4), "Groups": "", "Gid": "\t".join([str(empty.uid)] * 4),
                "NoNewPrivs": "1", "Seccomp_filters": str(FILTERS), "CapPrm": "0" * 16, "CapEff": "0" * 16,
                "CapBnd": "0" * 16, "CapAmb": "0" * 16, "CapInh": "0" * 16, "TracerPid": "0"}
    looked_at = 0
    for pid in empty.processes() - empty.before[0]:
        threads = []
        with contextlib.suppress(OSError):
            threads = os.listdir(f"/proc/{pid}/task")
        for thread in threads:
            facts = facts_of(thread)
            assert not facts or {name: facts[name].strip() for name in expected} == expected, (pid, facts)
            looked_at += bool(facts)
    assert looked_at or not lives
    assert empty.view()[1:] == empty.before[1:]


@pytest.mark.parametrize("mode", ["good", "threads", "running"])
def test_what_is_confined_goes_on_under_the_filters_of_a_session(empty, criu, mode):
    done = attempt(empty, criu, mode)
    assert done.error == "" and len(done.fds) == 2 and done.processes == 1, done
    assert_confined(empty)
    if mode != "running":
        with socket.socket(fileno=done.fds[1]) as agent:
            agent.settimeout(60)
            agent.send(b"x")
            assert agent.recv(100) == b"EPERM\n"  # ptrace(2), which CRIU had
        del done.fds[1]
    for fd in done.fds:
        os.close(fd)


def test_processes_that_are_born_without_end_are_all_held(empty, criu):
    done = attempt(empty, criu, "births")
    for fd in done.fds:
        os.close(fd)
    if done.error == "":
        assert_confined(empty)
    else:
        assert empty.view() == empty.before


def test_one_that_ends_before_it_is_continued_is_no_failure(empty, criu):
    done = attempt(empty, criu, "ends-one")
    assert done.error == "" and done.processes == 53, done
    daemon.wait_until(lambda: len(empty.processes() - empty.before[0]) == 1)
    assert_confined(empty)
    for fd in done.fds:
        os.close(fd)


@pytest.mark.parametrize("mode, expected", [
    ("capability", "not confined: CapInh is 0*10000000000"),
    ("whole-proc", "not confined: descriptor 5 is in CRIU's workplace"),
    ("proc-folder", "not confined: cwd is in CRIU's workplace"),
    ("images", "not confined: descriptor 5 is in CRIU's workplace"),
    ("images-path", "not confined: descriptor 5 is in CRIU's workplace"),
    ("mapping", "not confined: a mapping is in CRIU's workplace"),
    # CRIU's files: a host's, whose file system may be the image's, too.
    ("criu-folder", "not confined: descriptor 5 is in CRIU's workplace"),
    ("criu-path", "not confined: descriptor 5 is in CRIU's workplace"),
    ("criu-place", "not confined: cwd is in CRIU's workplace"),
    ("criu-program", "not confined: exe is in CRIU's workplace"),
    ("criu-mapping", "not confined: a mapping is in CRIU's workplace"),
    ("in-message", "one with descriptors that nobody has received"),
    ("in-backlog", "one with descriptors that nobody has received"),
    ("own-table", "a thread's table of descriptors is its own"),
    ("dead-leader", "not confined|pidfd|vdso"),
    ("vfork", "a restored process does not stop"),
    ("no-vdso", "its vdso was unmapped"),
    ("inet", "it has no agent"),  # its socket(2) fails
    ("complains", r"CRIU failed: it is \\x1b\[2J broken: Input/output error"),
    ("killed", "CRIU was ended by signal 9"),
    ("nothing", "it has no agent"),
])
def test_what_is_not_confined_is_refused(empty, criu, mode, expected):
    refused(empty, criu, mode, expected)


def test_sockets_are_those_that_the_sandbox_may_have(spored, criu):
    for mode, error in (("inet", ""), ("mptcp", "family 2, type 1, protocol 262")):
        empty = restores.Empty(spored, network="egress:web.test:80")
        try:
            done = attempt(empty, criu, mode, words=["loopback"])
            for fd in done.fds:
                os.close(fd)
            if "no agent" in done.error:
                pytest.skip("the kernel has no MPTCP")
            assert error in done.error and bool(error) == bool(done.error), done
            assert (empty.view() == empty.before) == bool(error)
            assert empty.view()[2] == empty.before[2] != b""
        finally:
            empty.end()


def test_an_agent_without_the_door_is_refused(empty, criu):
    refused(empty, criu, "good", "the agent's other end", descriptor=77)


@pytest.mark.parametrize("mode", ["hangs", "floods"])
def test_it_has_a_limit(empty, criu, mode):
    refused(empty, criu, mode, "not done within 500 ms", limit_ms=500)


def test_what_it_can_do_meanwhile_is_what_a_tenant_can(empty, criu):
    done = attempt(empty, criu, "everything")
    assert done.error == "", done
    for fd in done.fds:
        os.close(fd)
    told = dict(line.split("=") for line in empty.read("/tmp/tried").splitlines())
    assert len(told) >= 35 and not [name for name, result in told.items() if result == "done"], told
    assert_confined(empty)


def test_images_that_are_damaged_are_refused_before_criu_reads_any(empty, criu):
    for images in ({}, {"core-50.img": b""}, {"core-50.img": THREAD[:-1]},
                   {"core-50.img": THREAD + b"\x00"}):
        done = restores.restore(empty, criu, images)
        assert "the checkpoint is damaged" in done.error, done
    assert empty.view() == empty.before


@pytest.mark.parametrize("point", ["restore-files", "restore-workplace", "restore-criu",
                                   "restore-checked"])
@pytest.mark.parametrize("how", ["fail", "kill"])
def test_faults_leave_nothing_that_runs(empty, criu, point, how):
    done = attempt(empty, criu, "threads", fault=f"{point}:{how}")
    assert not done.fds
    if how == "fail":
        assert point in done.error, done
        assert empty.view() == empty.before
    else:
        # Whoever is killed takes along what it holds; the sandbox is ended by spored.
        assert done.code != 0 or "has ended" in done.error, done
        def at_rest():
            states = [restores.status(pid, "State") for pid in empty.processes() - empty.before[0]]
            return all(state is None or state[0] in "TZ" for state in states)

        daemon.wait_until(at_rest, what="nothing runs")


def test_files_come_back_as_the_tenants(empty, criu):
    done = attempt(empty, criu, "good", files={"tmp/text": b"kept", "shm/shared": b"too"})
    assert done.error == "", done
    for fd in done.fds:
        os.close(fd)
    assert empty.read("/tmp/text") == "kept" and empty.read("/dev/shm/shared") == "too"
    for path in ("/tmp/text", "/dev/shm/shared"):
        assert os.stat(f"/proc/{empty.init}/root{path}").st_uid == empty.uid
