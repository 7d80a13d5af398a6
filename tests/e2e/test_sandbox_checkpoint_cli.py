"""Sessions on disk as people see them: the command, names, owners, limits, and what is damaged.

What comes back: test_sandbox_checkpoint.py.
"""
import grp
import json
import os
import shutil
import subprocess

import daemon
import pytest
import sandboxes
import ttrpc

ONE, TWO = 48217, 48218
REFUSED = 4
SERVICE = "SessionCheckpoints"
CONFIG = {"socket-group": grp.getgrgid(0).gr_name, "session-checkpoints-max": 2}


@pytest.fixture(scope="module")
def spored():
    server = daemon.Spored(CONFIG)
    with server.running():
        os.chmod(server.socket, 0o666)
        yield server


@pytest.fixture
def box(spored):
    with sandboxes.sandbox(spored, ttl_ms=600_000, label="mine") as made:
        made.code("x = 20")
        yield made


@pytest.fixture
def command(spored):
    """`spore sandbox WORD ..` of root or of a user; what is on disk is removed in the end."""

    def run(*words, uid=0, code=0):
        prefix = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] if uid else []
        done = spored.cli("sandbox", *words, prefix=prefix)
        assert done.code == code, done
        return done.out.split() if code == 0 else done.err

    yield run
    for name in run("checkpoints", "ls", "-q"):
        run("checkpoints", "rm", name)


def folder(spored, owner, name):
    return spored.state / "session-checkpoints" / str(owner) / name


def test_to_disk_and_back(spored, box, command):
    assert command("checkpoint", "--name", "kept.1", box.id[:6]) == ["kept.1"]
    assert box.inspect()["state"] == "DEAD"
    table = spored.cli("sandbox", "checkpoints").out.splitlines()
    assert table[0].split() == ["NAME", "SANDBOX", "LABEL", "IMAGE", "AGE", "PIDS", "SIZE", "UNPACKED", "USABLE"]
    assert table[1].split()[:4] == ["kept.1", box.id, "mine", "python"] and table[1].endswith("yes")
    assert spored.cli("sandbox", "checkpoints", "ls").out.splitlines()[1].split()[0] == "kept.1"
    shown = spored.cli("sandbox", "checkpoints", "inspect", "kept.1").out
    assert f"Sandbox:   {box.id}" in shown and "python, 1 pieces so far" in shown
    told = json.loads(spored.cli("sandbox", "checkpoints", "inspect", "--json", "kept.1").out)
    assert (told["owner_uid"], told["label"], told["network"], told["unusable"]) == (0, "mine", "none", "")
    assert told["bytes"] == (folder(spored, 0, "kept.1") / "session.zst").stat().st_size
    [listed] = json.loads(spored.cli("sandbox", "checkpoints", "--json").out)
    assert listed["id"] == told["id"] and len(told["id"]) == 12

    [first] = command("restore", "kept.1")
    second = json.loads(spored.cli("sandbox", "restore", "--json", "--label", "again", "--ttl", "60s", "kept.1").out)
    assert (second["restored_from"], second["label"]) == ("kept.1", "again")
    assert command("run-code", first, "-c", "x + 1") == ["21"]
    assert "Restored from: kept.1" in spored.cli("sandbox", "inspect", first).out
    assert command("checkpoints", "rm", "kept.1") == ["kept.1"]
    # What was made of it goes on.
    assert command("run-code", second["id"], "-c", "x + 2") == ["22"]
    command("kill", first, second["id"])
    assert not list((spored.state / "session-checkpoints").iterdir())


def test_names(spored, box, command):
    assert command("checkpoint", "--leave-running", box.id) == [box.id]
    assert command("checkpoint", "--leave-running", box.id) == [box.id + "-2"]
    assert f'"{box.id}" already' in command("checkpoint", "--name", box.id, box.id, code=REFUSED)
    for wrong in (".", ".hidden", "-rf", "a/b", "a b", "x" * 65, "ä"):
        error = command("checkpoint", "--name=" + wrong, box.id, code=REFUSED)
        assert "name:" in error and "expected 1 to 64 characters of [A-Za-z0-9_.-]" in error
    for word in ("inspect", "rm"):
        assert 'no session checkpoint "none"' in command("checkpoints", word, "none", code=REFUSED)
    assert 'no session checkpoint "../0/x"' in command("restore", "../0/x", code=REFUSED)
    assert 'no session checkpoint ""' in command("restore", "", code=REFUSED)
    # None of that has touched it.
    assert box.value("x") == "20"
    assert command("checkpoints", "ls", "-q") == [box.id + "-2", box.id]


def test_what_is_asked_for_is_checked(spored, box, command):
    assert "no session" in command("checkpoint", "0" * 12, code=REFUSED)
    command("checkpoint", "--leave-running", "--name", "a", box.id)
    assert "ttl_ms: 10 is out of range" in command("restore", "--ttl", "10ms", "a", code=REFUSED)
    assert "label" in command("restore", "--label", "not a label", "a", code=REFUSED)
    command("checkpoint", code=2)
    command("checkpoints", "nonsense", code=2)
    command("pause", box.id)
    assert "paused" in command("checkpoint", box.id, code=REFUSED)
    assert command("checkpoints", "ls", "-q") == ["a"]


def test_owners(spored, command):
    theirs = {}
    for uid in (ONE, TWO):
        [theirs[uid]] = command("create", "--name", f"of-{uid}", uid=uid)
        command("checkpoint", "--name", "same", theirs[uid], uid=uid)
    [alone] = command("create", uid=ONE)
    assert "no session" in command("checkpoint", alone, uid=TWO, code=REFUSED)
    command("checkpoint", "--name", "alone", alone, uid=ONE)
    assert command("checkpoints", "ls", "-q", uid=ONE) == ["alone", "same"]
    assert command("checkpoints", "ls", "-q", uid=TWO) == ["same"]
    # Of another's nothing is told but what is told of none.
    for name in ("alone", f"{ONE}/alone", f"{ONE}/none"):
        for words in (["restore"], ["checkpoints", "inspect"], ["checkpoints", "rm"]):
            assert f'no session checkpoint "{name}"' in command(*words, name, uid=TWO, code=REFUSED)
    assert set(command("checkpoints", "ls", "-q")) == {f"{ONE}/alone", f"{ONE}/same", f"{TWO}/same"}
    assert "that of several" in command("checkpoints", "inspect", "same", code=REFUSED)
    # What root restores is the owner's.
    for uid, name in ((ONE, f"{ONE}/same"), (ONE, "alone"), (TWO, f"{TWO}/same")):
        [made] = command("restore", name)
        assert json.loads(spored.cli("sandbox", "inspect", "--json", made).out)["owner_uid"] == uid
        command("kill", made, uid=uid)
    assert (folder(spored, ONE, "same").stat().st_mode & 0o777, folder(spored, ONE, "same").stat().st_uid) == (0o700, 0)


def test_so_many_of_one_user(spored, command):
    [made] = command("create", uid=ONE)
    for name in ("a", "b"):
        command("checkpoint", "--leave-running", "--name", name, made, uid=ONE)
    error = command("checkpoint", "--name", "c", made, uid=ONE, code=REFUSED)
    assert f"uid {ONE} has 2 checkpoints" in error and "session-checkpoints-max" in error
    assert command("run-code", made, "-c", "1 + 1", uid=ONE) == ["2"]
    command("checkpoints", "rm", "a", "b", uid=ONE)
    command("checkpoint", "--name", "c", made, uid=ONE)


def pages(spored, **request):
    """Names, a list a page."""
    found = []
    while True:
        answer = spored.call(SERVICE, "List", request)
        found.append([each["name"] for each in answer["checkpoints"]])
        if not answer["next_marker"]:
            return found
        request["marker"] = answer["next_marker"]


def test_lists_in_pages(spored, box, command):
    for name in ("a", "b", "c"):
        command("checkpoint", "--leave-running", "--name", name, box.id)
    assert pages(spored) == pages(spored, limit=3) == [["c", "b", "a"]]
    assert pages(spored, limit=1) == [["c"], ["b"], ["a"]]
    first = spored.call(SERVICE, "List", {"limit": 2})
    command("checkpoints", "rm", "b")  # that of the marker
    assert pages(spored, marker=first["next_marker"]) == [["a"]]
    for marker in ("b", "1/2", "-" + first["next_marker"]):
        error = spored.error_of(SERVICE, "List", {"marker": marker})
        assert error.code == ttrpc.CODES["INVALID_ARGUMENT"] and "marker" in error.message, error


def test_lists_that_no_message_holds(spored):
    """Of folders without a record: each says why it is unusable."""
    place = spored.state / "session-checkpoints" / "0"
    names = {f"{number:064d}" for number in range(30_000)}
    try:
        for name in names:
            (place / name).mkdir(parents=True)
        found = pages(spored)
        for listed in (sum(found, []), spored.cli("sandbox", "checkpoints", "ls", "-q").out.split()):
            missing = names - set(listed)
            assert not missing and len(listed) == len(names)
        assert len(found) > 1
    finally:
        shutil.rmtree(place)


def test_completion(spored, box, command):
    command("checkpoint", "--leave-running", "--name", "complete-me", box.id)

    def complete(*words):
        done = subprocess.run([daemon.find_program("spore"), "__complete", "sandbox", *words], capture_output=True,
                              text=True, check=True, env={**daemon.environment(), "SPORE_SOCKET": str(spored.socket)})
        return {line.split("\t")[0] for line in done.stdout.splitlines()[:-1]}

    assert complete("restore", "com") == complete("checkpoints", "rm", "c") == {"complete-me"}
    assert complete("checkpoints", "") == {"ls", "inspect", "rm"}


def test_damage_is_told_and_costs_nothing_else(spored, box, command):
    for name in ("archive", "record"):
        command("checkpoint", "--leave-running", "--name", name, box.id)
    archive = folder(spored, 0, "archive") / "session.zst"
    with open(archive, "r+b") as file:
        file.seek(archive.stat().st_size // 2)
        file.write(b"\x00\x01\x02\x03")
    (folder(spored, 0, "record") / "checkpoint.json").write_text("{")
    error = command("restore", "archive", code=REFUSED)
    assert 'session checkpoint "archive"' in error and "the digest differs" in error
    assert "checkpoint.json is damaged" in command("restore", "record", code=REFUSED)
    assert "record: checkpoint.json is damaged" in spored.cli("sandbox", "checkpoints").out
    assert [s["id"] for s in spored.call("Sandboxes", "List")["sessions"]] == [box.id]
    assert command("checkpoints", "rm", "record") == ["record"]


@pytest.mark.parametrize("point", ["session-checkpoint-packed", "session-checkpoint-staged"])
def test_half_of_one_is_nothing(point):
    server = daemon.Spored()
    try:
        server.start({"SPORE_FAULT": point + ":fail"})
        server.await_eager_images()
        with sandboxes.sandbox(server) as box:
            box.code("x = 1")
            done = server.cli("sandbox", "checkpoint", box.id)
            assert done.code == REFUSED and point in done.err
            # It could not be written: the session goes on.
            assert box.value("x") == "1"
            assert server.call(SERVICE, "List")["checkpoints"] == []
        assert not list((server.state / "session-checkpoints").iterdir())
        server.stop()
        server.start({"SPORE_FAULT": point + ":kill"})
        server.await_eager_images()
        box = sandboxes.create(server)
        server.cli("sandbox", "checkpoint", box.id)
        server.process.wait(60)
        assert list((server.state / "session-checkpoints/0").iterdir())
        server.start()
        assert not list((server.state / "session-checkpoints").iterdir())
        server.check_end()
    finally:
        server.stop(9)
        server.remove()


def test_so_much_of_the_disk():
    server = daemon.Spored({"session-checkpoints-bytes": "64KiB"})
    with server.running(), sandboxes.sandbox(server) as box:
        box.code("x = 1")
        done = server.cli("sandbox", "checkpoint", box.id)
        assert done.code == REFUSED and "session-checkpoints-bytes" in done.err
        assert box.value("x") == "1"
        assert not list((server.state / "session-checkpoints").iterdir())


def test_so_much_of_the_disk_of_one_user():
    server = daemon.Spored({**CONFIG, "limits-per-client": {"session-checkpoints-bytes": "64KiB"}})
    with server.running():
        os.chmod(server.socket, 0o666)
        with server.client() as root, sandboxes.sandbox(server) as box:
            user = ["setpriv", f"--reuid={ONE}", f"--regid={ONE}", "--clear-groups"]
            made = server.cli("sandbox", "create", prefix=user).out.strip()
            done = server.cli("sandbox", "checkpoint", made, prefix=user)
            assert done.code == REFUSED and "limits-per-client.session-checkpoints-bytes" in done.err
            assert server.cli("sandbox", "run-code", made, "-c", "1 + 1", prefix=user).out == "2\n"
            assert server.cli("sandbox", "kill", made).code == 0
            # Nobody else is kept from it.
            assert server.cli("sandbox", "checkpoint", "--name", "roots", box.id).out == "roots\n"
            kept = root.call(SERVICE, "List")["checkpoints"]
            assert [(each["name"], each["owner_uid"]) for each in kept] == [("roots", 0)]


def test_a_full_disk(tmp_path):
    server = daemon.Spored()
    server.state = tmp_path
    place = tmp_path / "session-checkpoints"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", place], check=True)
    try:
        server.write_config({})
        with server.running(), sandboxes.sandbox(server) as box:
            box.code("x = 1")
            done = server.cli("sandbox", "checkpoint", box.id)
            assert done.code == REFUSED and "No space left on device" in done.err and "state-dir" in done.err, done
            error = server.error_of(SERVICE, "Create", {"id": box.id})
            assert error.code == ttrpc.CODES["RESOURCE_EXHAUSTED"], error
            # It goes on, nothing is left, and with some room it can.
            assert box.value("x") == "1"
            assert not list(place.iterdir())
            subprocess.run(["mount", "-o", "remount,size=64m", place], check=True)
            assert server.cli("sandbox", "checkpoint", "--name", "kept", box.id).out == "kept\n"
            server.cli("sandbox", "checkpoints", "rm", "kept")
    finally:
        server.stop(9)
        subprocess.run(["umount", place], check=True)


def test_a_whole_one_stays_and_a_restore_that_fails_leaves_nothing():
    server = daemon.Spored()
    try:
        server.start({"SPORE_FAULT": "session-checkpoint-renamed:kill"})
        server.await_eager_images()
        box = sandboxes.create(server)
        box.code("x = 1")
        server.cli("sandbox", "checkpoint", "--name", "whole", box.id)
        server.process.wait(60)
        for how in ("fail", "kill"):
            server.start({"SPORE_FAULT": f"session-restore-verified:{how}"})
            server.await_eager_images()
            assert [c["name"] for c in server.call(SERVICE, "List")["checkpoints"]] == ["whole"]
            assert server.cli("sandbox", "restore", "whole").code != 0
            if how == "kill":
                server.process.wait(60)
            else:
                daemon.wait_until(lambda: not server.call("Sandboxes", "List")["sessions"], what="no session is left")
                server.stop()
        server.start()
        server.await_eager_images()
        copy = sandboxes.Sandbox(server, server.call(SERVICE, "Restore", {"name": "whole"})["id"])
        assert copy.value("x") == "1"
        copy.kill()
        server.check_end()
    finally:
        server.stop(9)
        server.remove()
