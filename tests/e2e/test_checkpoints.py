"""Zygotes on disk: made, listed, restored and removed; and what a restored one is like."""
import json
import pathlib
import re

import daemon
import pytest
import ttrpc

SPORED_CONFIG = {"ready-sandboxes": 2}

PYTHON = {"app.py": "import os, random\n"
                    "def handler(e, c):\n"
                    "    return {'sum': sum(e), 'random': random.random(), 'pid': os.getpid()}\n"}
NODE = {"index.js": "exports.handler = async (e) => ({sum: e.reduce((a, b) => a + b, 0),\n"
                    "    random: Math.random(), pid: process.pid});\n"}
IMAGES = {"python": ("python", PYTHON, "app.handler"), "node": ("node", NODE, "index.handler"),
          "python-numpy-threads": ("python", PYTHON, "app.handler")}


def create(server, image):
    return server.call("Checkpoints", "Create", {"image": image})


def checkpoints(server):
    return {c["id"]: c for c in server.call("Checkpoints", "List")["checkpoints"]}


def zygote(server, image):
    """The one that serves."""
    found = [z for z in server.call("Zygotes", "List")["zygotes"]
             if z["image"] == image and z["state"] == "READY"]
    return found[0] if found else None


def evict(server, image):
    server.call("Zygotes", "Evict", {"image": image, "force": True})


def warm(server, image):
    return server.call("Zygotes", "Warm", {"image": image})


def statuses(pid):
    """The lines of all threads' status that say what they may do."""
    names = ("Uid", "Gid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
             "Seccomp_filters", "Groups")
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        fields = dict(re.findall(r"^(\w+):[ \t]*(.*)$", (task / "status").read_text(), re.M))
        found += [f"{name} {fields[name]}" for name in names]
    return set(found)


@pytest.mark.parametrize("image", IMAGES)
def test_an_evicted_zygote_comes_back_by_restore(spored, image):
    runtime, files, handler = IMAGES[image]
    cold = warm(spored, image)
    assert cold["start_kind"] == "START_KIND_COLD"
    may = statuses(cold["pid"])
    made = create(spored, image)
    assert zygote(spored, image)["pid"] == cold["pid"], "the one that serves goes on"
    evict(spored, image)
    restored = warm(spored, image)
    assert restored["start_kind"] == "START_KIND_RESTORE", restored
    assert restored["checkpoint"] == made["id"]
    # Every thread may do just what a cold zygote's may.
    assert statuses(restored["pid"]) == may
    name = f"f-{image}"
    spored.deploy(name, files, handler, image=image, runtime=runtime,
                  isolation="ISOLATION_INVOCATION")
    answers = [spored.result(name, [1, 2, 3]) for _ in range(6)]
    assert {a["sum"] for a in answers} == {6} and {a["pid"] for a in answers} == {2}
    assert len({a["random"] for a in answers}) == 6
    evict(spored, image)
    again = warm(spored, image)
    assert again["checkpoint"] == made["id"], "it can be restored more than once"
    assert spored.result(name, [1])["random"] not in {a["random"] for a in answers}
    spored.call("Checkpoints", "Remove", {"id": made["id"]})
    evict(spored, image)
    assert warm(spored, image)["start_kind"] == "START_KIND_COLD"


def test_a_restart_of_the_daemon_restores():
    with daemon.Spored(SPORED_CONFIG).running() as server:
        server.deploy("f", PYTHON)
        made = create(server, "python")
        assert server.stop() == 0
        server.start()
        assert server.result("f", [4, 5])["sum"] == 9
        assert zygote(server, "python")["checkpoint"] == made["id"]
        # It is tied to the machine and to what is loaded, not to the daemon's uids or its cgroup.
        evict(server, "python")
        assert server.stop() == 0
        server.uid_base += daemon.UIDS
        server.write_config(SPORED_CONFIG)
        server.start()
        assert server.result("f", [4, 5])["sum"] == 9
        assert zygote(server, "python")["checkpoint"] == made["id"]


def test_restore_on_request_replaces_the_zygote(spored):
    old = warm(spored, "python")
    made = create(spored, "python")
    assert spored.call("Checkpoints", "Restore", {"image": "python"})["checkpoint"] == made["id"]
    assert spored.call("Checkpoints", "Restore", {"id": made["id"]})["pid"] != old["pid"]
    # A rotation is for a fresh layout.
    rotated = spored.call("Zygotes", "Rotate", {"image": "python"})
    assert rotated["start_kind"] == "START_KIND_COLD" and rotated["checkpoint"] == ""
    evict(spored, "python")
    assert spored.call("Checkpoints", "Restore", {"id": made["id"]})["checkpoint"] == made["id"]
    spored.call("Checkpoints", "Remove", {"id": made["id"]})
    serving = zygote(spored, "python")["pid"]
    for request, words in (({"image": "python"}, "no checkpoint of image python"),
                           ({"id": made["id"]}, "no checkpoint"), ({"image": "none"}, "no image"),
                           ({}, "expected one of the two")):
        assert words in str(spored.error_of("Checkpoints", "Restore", request))
    assert "no checkpoint" in str(spored.error_of("Checkpoints", "Remove", {"id": "0" * 12}))
    assert zygote(spored, "python")["pid"] == serving


def test_a_slow_start_makes_one_and_a_rotation_a_new_one():
    with daemon.Spored({**SPORED_CONFIG, "checkpoint-after-ms": 1}).running() as server:
        warm(server, "python")
        first = daemon.wait_until(lambda: checkpoints(server), 180, "a checkpoint")
        assert [c["automatic"] for c in first.values()] == [True]
        evict(server, "python")
        assert warm(server, "python")["checkpoint"] in first
        server.call("Zygotes", "Rotate", {"image": "python"})
        daemon.wait_until(lambda: checkpoints(server) and not set(checkpoints(server)) & set(first),
                          180, "a checkpoint of the fresh zygote")
        assert len(checkpoints(server)) == 1
        # They hold memory, and who made them decides what runs: root's alone.
        folder = server.state / "checkpoints"
        assert folder.stat().st_mode & 0o777 == 0o700 and folder.stat().st_uid == 0


def test_cli(spored):
    made = spored.cli("checkpoint", "create", "python")
    assert made.code == 0, made
    identity = made.out.strip()
    listed = spored.cli("checkpoint", "ls")
    assert re.search(rf"^{identity} +python .* request .* yes$", listed.out, re.M), listed
    entry = json.loads(spored.cli("checkpoint", "ls", "--json").out)[0]
    assert set(entry["ties"]) == {"kernel", "cpu", "spore", "image", "runtime", "host-files"}
    restored = spored.cli("checkpoint", "restore", identity, "--json")
    assert restored.code == 0 and restored.json()["checkpoint"] == identity, restored
    assert re.search(r"^python +ready .* restore ", spored.cli("zygote", "ls").out, re.M)
    assert spored.cli("checkpoint", "rm", identity).code == 0
    missing = spored.cli("checkpoint", "restore", identity)
    assert missing.code != 0 and f'no checkpoint "{identity}"' in missing.err, missing
    assert spored.cli("checkpoint", "create", "nothing").code != 0


def test_root_only(spored, stranger):
    for arguments in (["ls"], ["create", "python"], ["restore", "python"], ["rm", "0" * 12]):
        denied = spored.cli("checkpoint", *arguments, prefix=stranger)
        assert denied.code != 0 and ("only root" in denied.err or "ermission" in denied.err), denied


def test_java(spored):
    """The one that it is worth most for."""
    warm(spored, "java")
    made = create(spored, "java")
    evict(spored, "java")
    restored = warm(spored, "java")
    assert restored["checkpoint"] == made["id"], restored
    source = 'public class Main { public static void main(String[] a) { System.out.print("hi"); } }'
    path = spored.directory / "Main.java"
    path.write_text(source)
    ran = spored.cli("run", "--runtime", "java", path)
    assert ran.code == 0 and ran.out == "hi", ran
    spored.call("Checkpoints", "Remove", {"id": made["id"]})


def test_errors_name_the_call(spored):
    with pytest.raises(ttrpc.RpcError) as error:
        create(spored, "none")
    assert error.value.code == ttrpc.CODES["NOT_FOUND"]
