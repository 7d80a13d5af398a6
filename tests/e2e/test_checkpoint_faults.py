"""Checkpoints that are damaged or foreign, a CRIU that is missing, fails or is killed, a full disk,
and a daemon that dies: the next request is served, by a cold zygote which says why, and nothing is
left behind.
"""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import daemon
import pytest
import ttrpc
from test_checkpoints import PYTHON, SPORED_CONFIG, checkpoints, create, evict, warm, zygote

POINTS = ["checkpoint-packed", "checkpoint-staged", "checkpoint-renamed", "restore-verified"]
DUMP_POINTS = POINTS[:3]


@pytest.fixture
def server():
    with daemon.Spored(SPORED_CONFIG).running() as started:
        started.deploy("f", PYTHON)
        yield started


def folder_of(server, checkpoint):
    return server.state / "checkpoints" / checkpoint["image"] / checkpoint["id"]


def assert_served_cold(server, *words):
    """And the reason is told, in the list and in the log."""
    assert server.result("f", [2, 3])["sum"] == 5
    serving = zygote(server, "python")
    assert serving["start_kind"] == "START_KIND_COLD" and serving["checkpoint"] == ""
    for word in words:
        assert word in serving["start_reason"], serving
        assert word in server.log_text()


def assert_nothing_half_made(server):
    hidden = [p.name for p in (server.state / "checkpoints").iterdir() if p.name.startswith(".")]
    assert hidden == []


def cut(folder):
    os.truncate(folder / "memory.tar.zst", 1000)


def flip(folder):
    path = folder / "memory.tar.zst"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def drop(folder):
    (folder / "memory.tar.zst").unlink()


def garble(folder):
    (folder / "checkpoint.json").write_text("{")


def empty(folder):
    (folder / "checkpoint.json").unlink()


def change(**fields):
    def edit(folder):
        record = json.loads((folder / "checkpoint.json").read_text())
        for key, value in fields.items():
            if key in record.get("ties", {}):
                record["ties"][key] = value
            else:
                record[key] = value
        (folder / "checkpoint.json").write_text(json.dumps(record))
    return edit


DAMAGE = {
    "truncated": (cut, "bytes where"),
    "altered": (flip, "digest differs"),
    "archive gone": (drop, "memory.tar.zst"),
    "record damaged": (garble, "is damaged"),
    "record gone": (empty, "checkpoint.json"),
    "other kernel": (change(kernel="5.10.0 x86_64"), 'its kernel was "5.10.0 x86_64"'),
    "other cpu": (change(cpu="i486"), 'its cpu was "i486"'),
    "other spore": (change(spore="0.0.1"), 'its spore was "0.0.1"'),
    "other image version": (change(image="0123"), 'its image was "0123"'),
    "of another checkpoint": (change(id="0" * 12), "another checkpoint"),
    "other runtime": (change(runtime="/usr/bin/python2"), "its runtime was"),
    "other host, up for longer": (change(bootId="other", clockNs=str(2 ** 62)), "has been up for"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_what_does_not_fit_is_refused(server, what):
    damage, words = DAMAGE[what]
    made = create(server, "python")
    evict(server, "python") if zygote(server, "python") else None
    damage(folder_of(server, made))
    assert_served_cold(server, words)
    error = server.error_of("Checkpoints", "Restore", {"id": made["id"]})
    assert error.code == ttrpc.CODES["FAILED_PRECONDITION"] or "memory.tar.zst" in str(error)
    assert words in str(error)
    # What serves goes on.
    assert server.result("f", [1])["sum"] == 1
    if what not in ("truncated", "altered", "archive gone"):  # known only when they are read
        assert words in checkpoints(server)[made["id"]]["unusable"]
        assert words in server.cli("checkpoint", "ls").out
    server.call("Checkpoints", "Remove", {"id": made["id"]})
    assert checkpoints(server) == {}


def test_images_that_criu_refuses(server):
    """Whole and with a right digest, but not what CRIU understands."""
    made = create(server, "python")
    folder = folder_of(server, made)
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(["tar", "--zstd", "-xf", folder / "memory.tar.zst", "-C", work], check=True)
        core = next(pathlib.Path(work).glob("core-*.img"))
        core.write_bytes(core.read_bytes()[:16])
        names = sorted(p.name for p in pathlib.Path(work).iterdir())
        subprocess.run(["tar", "--zstd", "-cf", folder / "memory.tar.zst", "-C", work, *names],
                       check=True)
    archive = folder / "memory.tar.zst"
    digest = subprocess.run(["sha256sum", archive], check=True, capture_output=True, text=True).stdout
    change(archiveDigest="sha256:" + digest.split()[0],
           archiveBytes=str(archive.stat().st_size))(folder)
    if zygote(server, "python"):
        evict(server, "python")
    assert_served_cold(server, "CRIU failed")
    # It is not tried again, unless asked for by name.
    evict(server, "python")
    assert "could not be restored" in warm(server, "python")["start_reason"]
    assert "could not be restored" in checkpoints(server)[made["id"]]["unusable"]


def fake_criu(folder, statement):
    """A /usr in which criu is a program of one statement."""
    usr = folder / "usr"
    (usr / "sbin").mkdir(parents=True)
    (usr / "lib").mkdir()
    (usr / "lib64").symlink_to("/lib64")
    (usr / "lib/x86_64-linux-gnu").symlink_to("/usr/lib/x86_64-linux-gnu")
    source = folder / "criu.c"
    source.write_text("#include <signal.h>\n#include <unistd.h>\n"
                      f"int main(void) {{ {statement}; return 0; }}\n")
    subprocess.run(["gcc", "-o", usr / "sbin/criu", source], check=True)
    usr.chmod(0o755)
    return str(usr)


CRIUS = {"fails": ("return 1", "CRIU failed"), "is killed": ("raise(SIGKILL)", "ended by signal 9"),
         "hangs": ("for (;;) pause()", "CRIU was not done within"),
         "lies": ("return 0", "")}


@pytest.mark.parametrize("how", CRIUS)
def test_criu_fails(tmp_path, how):
    statement, words = CRIUS[how]
    os.chmod(tmp_path, 0o755)
    with daemon.Spored(SPORED_CONFIG).running() as server:
        server.deploy("f", PYTHON)
        made = create(server, "python")
        assert server.stop() == 0
        server.write_config({**SPORED_CONFIG, "criu": fake_criu(tmp_path, statement)})
        server.start()
        assert_served_cold(server, words)
        serving = zygote(server, "python")["pid"]
        error = server.error_of("Checkpoints", "Create", {"image": "python"})
        assert (words or "no inventory") in str(error)
        assert zygote(server, "python")["pid"] == serving
        assert list(checkpoints(server)) == [made["id"]]
        assert_nothing_half_made(server)


def test_criu_is_missing():
    with daemon.Spored(SPORED_CONFIG).running() as server:
        server.deploy("f", PYTHON)
        create(server, "python")
        assert server.stop() == 0
        server.write_config({**SPORED_CONFIG, "criu": "/nowhere"})
        server.start()
        assert_served_cold(server, "no CRIU: /nowhere/sbin/criu is not there")
        assert "no CRIU" in str(server.error_of("Checkpoints", "Create", {"image": "python"}))
        assert "scripts/quickstart" in server.cli("checkpoint", "create", "python").err


def test_a_full_disk_in_a_dump():
    server = daemon.Spored(SPORED_CONFIG)
    state = pathlib.Path(tempfile.mkdtemp(prefix="spore-small-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", state], check=True)
    server.state = state
    try:
        with server.running():
            server.deploy("f", PYTHON)
            error = server.error_of("Checkpoints", "Create", {"image": "python"})
            assert "No space left on device" in str(error)
            assert_nothing_half_made(server)
            assert checkpoints(server) == {}
            assert server.result("f", [1])["sum"] == 1
    finally:
        subprocess.run(["umount", state], check=True)
        state.rmdir()


def attempt(server, point):
    """What passes the point; how it ended."""
    try:
        if point in DUMP_POINTS:
            create(server, "python")
        else:
            server.result("f", [1])
    except (ttrpc.RpcError, OSError) as error:
        return error
    return None


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("how", ["kill", "fail"])
def test_fault_points(server, point, how):
    before = set() if point in DUMP_POINTS else {create(server, "python")["id"]}
    assert server.stop() == 0
    server.start({"SPORE_FAULT": f"{point}:{how}"})
    outcome = attempt(server, point)
    if how == "kill":
        assert outcome is not None
        assert server.process.wait(60) == -signal.SIGKILL
        server.start()
    elif point in DUMP_POINTS:
        assert isinstance(outcome, ttrpc.RpcError)
    else:
        assert outcome is None, outcome
        assert_served_cold(server, "restore-verified")
    if how == "fail":
        assert_nothing_half_made(server)
        assert server.stop() == 0
        server.start()
    # Whole, or not there.
    assert_nothing_half_made(server)
    there = checkpoints(server)
    assert before <= set(there) and len(there) <= 1
    assert all(c["unusable"] == "" for c in there.values())
    assert server.result("f", [4])["sum"] == 4
    if not there:
        create(server, "python")
    evict(server, "python")
    assert warm(server, "python")["start_kind"] == "START_KIND_RESTORE"


@pytest.mark.parametrize("delay", [0.02, 0.1, 0.2, 0.3, 0.45])
def test_the_daemon_is_killed_in_a_dump_and_a_restore(server, delay):
    create(server, "python")
    for request in (("Checkpoints", "Create"), ("Checkpoints", "Restore")):
        with server.client() as client:
            client.call("System", "Info")
            child = os.fork()
            if child == 0:
                try:
                    client.call(*request, {"image": "python"})
                finally:
                    os._exit(0)
            time.sleep(delay)
            server.stop(signal.SIGKILL)
            os.waitpid(child, 0)
        daemon.wait_until(lambda: not server.tenant_processes(), what="all processes have ended")
        server.start()
        assert_nothing_half_made(server)
        assert server.result("f", [2])["sum"] == 2
