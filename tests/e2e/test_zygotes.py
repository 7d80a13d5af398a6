"""Zygotes from outside: listed, warmed, evicted, and replaced while they serve."""
import concurrent.futures
import contextlib
import os
import pathlib
import shutil
import signal
import sys
import threading
import time

import daemon
import pytest
import ttrpc

# An interpreter of the tests' own, made like a virtual environment, below /usr: that is what images
# show of the host.
PLACE = pathlib.Path(f"/usr/lib/spore-test-zygotes-{os.getpid()}")
PYTHON = PLACE / "bin/python3"
# What is at a place that each start of a Python chooses afresh, and a secret of it.
LAYOUT = "def handler(e, c):\n    return [id(len), hash('x')]\n"
SYSTEM_PYTHON = pathlib.Path("/usr/bin/python3").resolve().name  # "python3.11"
IMAGES = {
    "brittle": f'interpreter = "{PYTHON}"\npreload = ["json"]\npackages = ["python3"]',
    "slow": f'interpreter = "{PYTHON}"\npreload = ["dawdle"]',
    "absent": 'interpreter = "/usr/bin/no-such-python"',
}


@pytest.fixture(scope="module", autouse=True)
def place():
    shutil.rmtree(PLACE, ignore_errors=True)
    packages = PLACE / "lib" / SYSTEM_PYTHON / "site-packages"
    packages.mkdir(parents=True)
    (PLACE / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (packages / "dawdle.py").write_text("import time\ntime.sleep(2)\n")
    PYTHON.parent.mkdir()
    mend()
    yield
    shutil.rmtree(PLACE)


def mend():
    PYTHON.symlink_to("/usr/bin/python3")


@contextlib.contextmanager
def broken_interpreter():
    PYTHON.unlink()
    try:
        yield
    finally:
        mend()


def serve(**config):
    server = daemon.Spored(config)
    for name, text in IMAGES.items():
        (server.directory / "images" / f"{name}.toml").write_text(f'runtime = "python"\n{text}\n')
    return server.running()


@pytest.fixture(scope="module")
def spored():
    with serve() as server:
        os.chmod(server.socket, 0o666)
        yield server


def zygotes(server, image, state="READY"):
    return [z for z in server.cli("zygote", "ls", "--json").json()
            if z["image"] == image and state in ("", z["state"])]


def zygote(server, image):
    found = zygotes(server, image)
    assert len(found) == 1, found
    return found[0]


def image_of(server, name):
    return server.cli("image", "show", name, "--json").json()


def deploy(server, image, name=None, code=LAYOUT, isolation="ISOLATION_INVOCATION"):
    name = name or image
    server.deploy(name, {"app.py": code}, isolation=isolation, image=image)
    return name


def is_there(pid):
    return os.path.exists(f"/proc/{pid}")


def gone(*pids):
    daemon.wait_until(lambda: not any(map(is_there, pids)), what=f"the end of {pids}")


def cgroups_of(server, image):
    """Of its sandboxes and zygotes."""
    return [str(path) for top in daemon.cgroups_named(server.cgroup)
            for path in pathlib.Path(top).glob(f"{image}/*") if path.is_dir()]


def interpreters(server):
    return {pid for pid, name in server.tenant_processes().items() if name.startswith("python3")}


# ---- warm and evict ----

def test_unusable_image_says_why(spored):
    done = spored.cli("zygote", "warm", "absent")
    assert done.code == 4 and "/usr/bin/no-such-python is not installed" in done.err, done
    # It is tried again now and then; while it is, it says nothing of that.
    daemon.wait_until(lambda: "not installed" in image_of(spored, "absent")["reason"], what="the reason is told")
    daemon.wait_until(lambda: "not installed" in spored.cli("zygote", "rotate", "absent").err, what="and by rotate")
    daemon.wait_until(lambda: (lambda done: done.code == 4 and "has no zygote" in done.err)(
        spored.cli("zygote", "evict", "absent")), what="there is none to evict")


@pytest.mark.parametrize("arguments", [
    ["zygote", "warm"], ["zygote", "evict"], ["zygote", "rotate"]], ids=" ".join)
def test_unknown_image(spored, arguments):
    for name in ("nowhere", "x" * 5000, ".."):
        done = spored.cli(*arguments, name)
        assert done.code == 4 and 'no image "' + name[:64] + '"; there are ' in done.err and "python" in done.err
        assert len(done.err) < 1000
    assert spored.cli(*arguments).code == 2


def test_the_images_after_a_bad_one_are_still_done(spored):
    done = spored.cli("zygote", "warm", "nowhere", "brittle")
    assert (done.code, done.out.split()) == (4, ["brittle"]) and "nowhere" in done.err, done


def test_only_root_may_operate_zygotes(spored, stranger):
    assert spored.cli("zygote", "warm", "brittle").code == 0
    before = zygote(spored, "brittle")
    for arguments in (["warm", "brittle"], ["evict", "brittle"], ["rotate", "brittle"], ["rotate", "--all"],
                      ["warm", "nowhere"], ["evict", "--force", "brittle"]):
        done = spored.cli("zygote", *arguments, prefix=stranger)
        assert done.code == 4 and "only root may" in done.err and "48213" in done.err, done
    assert zygote(spored, "brittle")["pid"] == before["pid"]
    # Seeing is for all; what costs is not done for all.
    assert before["memory_bytes"] > 1 << 20
    seen = spored.cli("zygote", "ls", "--json", prefix=stranger).json()
    assert [(z["pid"], z["memory_bytes"]) for z in seen if z["image"] == "brittle"] == [(before["pid"], 0)]
    assert spored.cli("image", "ls", prefix=stranger).code == 0


def test_warm_waits_until_it_is_ready(spored):
    assert not zygotes(spored, "slow", "") and image_of(spored, "slow")["state"] == "STOPPED"
    begin = time.monotonic()
    assert spored.cli("zygote", "warm", "slow").out == "slow\n"
    assert time.monotonic() - begin > 2
    found = zygote(spored, "slow")
    assert found["preload_us"] > 2_000_000 and found["generation"] == 1 and found["forks"] == 0
    assert found["memory_bytes"] > 1 << 20 and found["rotation_error"] == ""
    assert os.readlink(f"/proc/{found['pid']}/exe").startswith("/usr/bin/python3")
    assert 21.5 * 3600 < found["next_rotation_unix_ms"] / 1000 - time.time() <= 24 * 3600
    daemon.wait_until(lambda: zygote(spored, "slow")["sandboxes_ready"] == 8, what="8 sandboxes")
    image = image_of(spored, "slow")
    assert image["state"] == "READY" and image["zygote_pid"] == found["pid"]
    assert image["runtime_version"] == "%d.%d.%d" % sys.version_info[:3] or sys.executable != "/usr/bin/python3"
    assert spored.cli("zygote", "warm", "slow", "--json").json()[0]["pid"] == found["pid"], "it was warm"


def test_evicted_zygote_is_gone_and_comes_again(spored):
    name = deploy(spored, "brittle", "comes-again")
    first = spored.result(name)
    before = zygote(spored, "brittle")
    # An instance may be on its way out still.
    daemon.wait_until(lambda: zygote(spored, "brittle")["instances"] == 0, what="no instances")
    others = interpreters(spored)
    done = spored.cli("zygote", "evict", "brittle")
    assert (done.code, done.out) == (0, "brittle\n"), done
    assert not is_there(before["pid"]) and not zygotes(spored, "brittle", "")
    daemon.wait_until(lambda: len(interpreters(spored)) < len(others) - 1, what="its sandboxes have ended, too")
    daemon.wait_until(lambda: not cgroups_of(spored, "brittle"), what=f"no {cgroups_of(spored, 'brittle')}")
    assert image_of(spored, "brittle")["state"] == "STOPPED"
    done = spored.cli("zygote", "evict", "brittle")
    assert done.code == 4 and "has no zygote" in done.err
    done = spored.cli("zygote", "rotate", "brittle")
    assert done.code == 4 and "spore zygote warm" in done.err
    assert spored.result(name) != first
    after = zygote(spored, "brittle")
    assert after["pid"] != before["pid"] and after["generation"] > before["generation"]


def test_zygote_with_instances_is_evicted_by_force_only(spored):
    name = deploy(spored, "brittle", "lives", isolation="ISOLATION_INSTANCE")
    answer = spored.invoke(name)
    pid = zygote(spored, "brittle")["pid"]
    done = spored.cli("zygote", "evict", "brittle")
    assert done.code == 4 and "1 instance of its zygote is live" in done.err and "--force" in done.err, done
    assert is_there(pid) and spored.invoke(name)["instance_id"] == answer["instance_id"]
    done = spored.cli("zygote", "evict", "--force", "brittle")
    assert done.code == 0 and not is_there(pid), done
    death = spored.death_of(answer["instance_id"])
    assert death["cause"] == "EVICTION" and "its zygote was evicted" in death["message"]
    assert spored.invoke(name)["instance_id"] != answer["instance_id"]


# ---- rotation ----

def test_rotate_wants_images_or_all(spored):
    for arguments in ([], ["--all", "brittle"]):
        done = spored.cli("zygote", "rotate", *arguments)
        assert done.code == 2 and "--all" in done.err, done


def test_rotate_all(spored):
    spored.cli("zygote", "warm", "brittle", "native")
    before = {z["image"]: z["pid"] for z in spored.cli("zygote", "ls", "--json").json() if z["state"] == "READY"}
    assert {"brittle", "native"} <= before.keys()
    done = spored.cli("zygote", "rotate", "--all")
    assert done.code == 0 and sorted(done.out.split()) == sorted(before), done
    after = {z["image"]: z["pid"] for z in spored.cli("zygote", "ls", "--json").json() if z["state"] == "READY"}
    assert after.keys() == before.keys() and not set(after.values()) & set(before.values())
    gone(*before.values())


@pytest.mark.parametrize("runtime, code", [
    ("node", {"index.js": "exports.handler = async () => process.pid;"}),
    ("java", None)])
def test_runtimes_with_threads_are_rotated(spored, probe_classes, runtime, code):
    spored.cli("zygote", "warm", runtime)
    if code:
        spored.deploy(runtime, code, "index.handler", "ISOLATION_INVOCATION", runtime=runtime,
                      limits={"memory_bytes": 256 << 20})
    before = zygote(spored, runtime)
    assert spored.cli("zygote", "rotate", runtime).code == 0
    after = zygote(spored, runtime)
    assert after["pid"] != before["pid"] and after["generation"] == before["generation"] + 1
    daemon.wait_until(lambda: zygote(spored, runtime)["sandboxes_ready"] == 8, what="its pool is full")
    if code:
        assert spored.result(runtime) == 2
    gone(before["pid"])
    assert spored.cli("zygote", "evict", "--force", runtime).code == 0


def test_generations_share_neither_layout_nor_hash_seed(spored):
    name = deploy(spored, "python", "layout")
    seen = []
    for _ in range(4):
        first, second = spored.result(name), spored.result(name)
        assert first == second, "copies of one zygote"
        seen.append(first)
        assert spored.cli("zygote", "rotate", "python").code == 0
    assert len({address for address, _ in seen}) == len({value for _, value in seen}) == 4, seen


def test_live_instances_of_a_replaced_zygote_go_on(spored):
    spored.cli("function", "rm", "lives")  # has an idle instance of an older one still
    daemon.wait_until(lambda: not zygotes(spored, "brittle", "DRAINING"), what="no older zygotes")
    name = deploy(spored, "brittle", "goes-on", isolation="ISOLATION_INSTANCE")
    answer = spored.invoke(name)
    before = zygote(spored, "brittle")
    assert before["instances"] >= 1
    assert spored.cli("zygote", "rotate", "brittle").code == 0
    gone(before["pid"])
    again = spored.invoke(name)
    assert again["instance_id"] == answer["instance_id"] and again["result"] == answer["result"]
    assert again["start_kind"] == "START_KIND_WARM"
    daemon.wait_until(lambda: zygotes(spored, "brittle", "")[0]["pid"] == 0, what="its end is known")
    old, new = zygotes(spored, "brittle", "")
    assert (old["state"], old["pid"], old["generation"]) == ("DRAINING", 0, before["generation"])
    assert old["instances"] >= 1 and old["sandboxes_ready"] == 0 and new["instances"] == 0
    assert "draining" in spored.cli("zygote", "ls").out
    for instance in spored.instances(function=name):
        spored.call("Instances", "Kill", {"id": instance["id"]})
    daemon.wait_until(lambda: not zygotes(spored, "brittle", "DRAINING"), what="the old one has drained")
    assert spored.result(name) != answer["result"]


class Stream:
    """Clients that call one function without a pause; what they got, and how long it took."""

    def __init__(self, server, name, clients=4):
        self.server, self.name, self.clients = server, name, clients
        self.answers, self.longest, self.stop = [], 0.0, threading.Event()

    def call(self):
        with self.server.client() as client:
            while not self.stop.is_set():
                begin = time.monotonic()
                response = client.call("Invocations", "Invoke", {"name": self.name, "payload": b"null"})
                self.longest = max(self.longest, time.monotonic() - begin)
                assert response["error"] is None, response
                self.answers.append(response["payload"])

    def __enter__(self):
        self.pool = concurrent.futures.ThreadPoolExecutor(self.clients)
        self.calls = [self.pool.submit(self.call) for _ in range(self.clients)]
        self.more()
        return self

    def more(self, count=50):
        wanted = len(self.answers) + count
        daemon.wait_until(lambda: len(self.answers) >= wanted or self.stop.is_set()
                          or any(call.done() for call in self.calls), 180, "answers")

    def __exit__(self, *_):
        self.stop.set()
        self.pool.shutdown()
        for call in self.calls:
            call.result()


def test_no_request_fails_or_waits_for_a_rotation(spored):
    """With a zygote that takes two seconds to load."""
    name = deploy(spored, "slow", "streamed")
    spored.cli("zygote", "warm", "slow")
    before = zygote(spored, "slow")
    with Stream(spored, name) as stream:
        begin = time.monotonic()
        assert spored.cli("zygote", "rotate", "slow").code == 0
        lasted = time.monotonic() - begin
        after = zygote(spored, "slow")
        stream.more()
    assert after["pid"] != before["pid"] and after["preload_us"] > 2_000_000
    assert len(set(stream.answers)) == 2, "both generations served, and none beside"
    assert lasted > 2 and stream.longest < 0.75 * lasted, "as long as loading takes nobody waited"
    gone(before["pid"])
    daemon.wait_until(lambda: not zygotes(spored, "slow", "DRAINING"), what="the old one has drained")


def test_rotations_at_once_are_one(spored):
    spored.cli("zygote", "warm", "slow")
    before = zygote(spored, "slow")
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: spored.call("Zygotes", "Rotate", {"image": "slow"}), range(3)))
    assert len({answer["pid"] for answer in answers}) == 1
    assert answers[0]["generation"] == before["generation"] + 1


def during_rotation(server, image):
    """Of a rotation that is on its way: the call's future, and the pid of the interpreter that starts."""
    before = interpreters(server)
    pool = concurrent.futures.ThreadPoolExecutor(1)
    call = pool.submit(lambda: server.call("Zygotes", "Rotate", {"image": image}))
    pool.shutdown(wait=False)
    daemon.wait_until(lambda: zygotes(server, image, "STARTING"), what="a fresh zygote")
    fresh = daemon.wait_until(lambda: (lambda new: new if len(new) == 1 else None)(interpreters(server) - before),
                              what="its interpreter")
    return call, fresh.pop()


def settled(server, image):
    daemon.wait_until(lambda: zygote(server, image)["sandboxes_ready"] == 8, what="a full pool")


def test_the_zygote_is_killed_during_its_rotation(spored):
    """The fresh one takes over as soon as it can; who asks meanwhile waits for it."""
    name = deploy(spored, "slow", "old-killed")
    spored.cli("zygote", "warm", "slow")
    settled(spored, "slow")
    before = zygote(spored, "slow")
    call, fresh = during_rotation(spored, "slow")
    os.kill(before["pid"], signal.SIGKILL)
    daemon.wait_until(lambda: image_of(spored, "slow")["state"] == "STARTING"
                      or [z["pid"] for z in zygotes(spored, "slow")] == [fresh], what="its end is noticed")
    first = spored.result(name)
    assert call.result(120)["pid"] == fresh == zygote(spored, "slow")["pid"]
    assert spored.result(name) == first


def test_the_fresh_zygote_is_killed_during_the_rotation(spored):
    """The old one goes on serving, and nobody notices but who asked for the rotation."""
    name = deploy(spored, "slow", "fresh-killed")
    spored.cli("zygote", "warm", "slow")
    settled(spored, "slow")
    before, answer = zygote(spored, "slow"), spored.result(name)
    settled(spored, "slow")
    call, fresh = during_rotation(spored, "slow")
    os.kill(fresh, signal.SIGKILL)
    with pytest.raises(ttrpc.RpcError) as caught:
        call.result(120)
    assert caught.value.code == ttrpc.CODES["FAILED_PRECONDITION"]
    assert "could not be replaced" in caught.value.message and "signal 9" in caught.value.message
    after = zygote(spored, "slow")
    assert after["pid"] == before["pid"] and spored.result(name) == answer
    assert after["rotation_failures"] == 1 and "signal 9" in after["rotation_error"]
    assert spored.cli("zygote", "rotate", "slow").code == 0
    assert zygote(spored, "slow")["rotation_error"] == ""


def test_a_zygote_is_evicted_during_its_rotation(spored):
    spored.cli("zygote", "warm", "slow")
    settled(spored, "slow")
    pid = zygote(spored, "slow")["pid"]
    call, fresh = during_rotation(spored, "slow")
    assert spored.cli("zygote", "evict", "slow").code == 0
    with pytest.raises(ttrpc.RpcError, match="was evicted"):
        call.result(120)
    assert not is_there(pid) and not is_there(fresh) and not zygotes(spored, "slow", "")


def test_the_daemon_stops_during_a_rotation():
    with serve() as server:
        server.cli("zygote", "warm", "slow")
        settled(server, "slow")
        call, _ = during_rotation(server, "slow")
        assert server.stop() == 0
        with pytest.raises(ttrpc.RpcError, match="spored is stopping"):
            call.result(120)


def test_the_daemon_is_killed_during_a_rotation():
    with serve() as server:
        server.cli("zygote", "warm", "slow")
        settled(server, "slow")
        call, _ = during_rotation(server, "slow")
        server.stop(signal.SIGKILL)
        assert isinstance(call.exception(120), OSError)
        daemon.wait_until(lambda: not server.tenant_processes(), what="no process outlives a killed daemon")
        server.start()
        assert server.cli("zygote", "warm", "slow").code == 0


def test_failed_rotation_leaves_the_old_zygote(spored):
    name = deploy(spored, "brittle", "serves")
    answer, before = spored.result(name), zygote(spored, "brittle")
    with broken_interpreter():
        done = spored.cli("zygote", "rotate", "brittle")
        assert done.code == 4 and done.out == "" and f"{PYTHON} is not installed" in done.err, done
        assert [spored.result(name) for _ in range(20)] == [answer] * 20, "more than were ready"
        found = zygote(spored, "brittle")
        assert found["pid"] == before["pid"] and "not installed" in found["rotation_error"]
        listed = spored.cli("zygote", "ls").out
        assert "brittle: could not be replaced, 1 times in a row:" in listed and "not installed" in listed
        assert image_of(spored, "brittle")["state"] == "READY"
    assert "could not be replaced" in spored.log_text()
    assert spored.cli("zygote", "rotate", "brittle").code == 0
    assert "could not" not in spored.cli("zygote", "ls").out
    assert spored.result(name) != answer


# ---- by itself ----

def generation_after(server, image, generation, seconds=60):
    daemon.wait_until(lambda: [z for z in zygotes(server, image) if z["generation"] > generation], seconds,
                      f"a generation after {generation}")
    return zygote(server, image)


def test_rotation_by_forks():
    with serve(**{"zygote-max-forks": 40, "ready-sandboxes": 2}) as server:
        name = deploy(server, "brittle")
        answers = {tuple(server.result(name)) for _ in range(36)}
        assert len(answers) == 1 and zygote(server, "brittle")["generation"] == 1, "at most a tenth earlier"
        with Stream(server, name) as stream:
            generation_after(server, "brittle", 1)
            stream.more()
        assert len(set(stream.answers)) >= 2
        time.sleep(0.5)
        daemon.wait_until(lambda: not zygotes(server, "brittle", "STARTING"), what="what the last calls began has ended")
        quiet = zygote(server, "brittle")
        assert quiet["forks"] <= 40
        time.sleep(1)
        assert zygote(server, "brittle")["pid"] == quiet["pid"], "none without demand"


def test_rotation_by_age():
    with serve(**{"zygote-max-age-ms": 1500}) as server:
        assert server.cli("zygote", "warm", "brittle", "python").code == 0
        first = zygote(server, "brittle")
        assert 0 < first["next_rotation_unix_ms"] / 1000 <= time.time() + 1.5
        generation_after(server, "brittle", generation_after(server, "brittle", 1)["generation"])
        generation_after(server, "python", 1)
        daemon.wait_until(lambda: not zygotes(server, "brittle", "DRAINING"), what="older ones are gone")
        gone(first["pid"])


def test_rotation_is_never_if_so_configured():
    with serve(**{"zygote-max-age-ms": 0, "zygote-max-forks": 0}) as server:
        server.cli("zygote", "warm", "brittle")
        assert zygote(server, "brittle")["next_rotation_unix_ms"] == 0


def test_failing_rotation_is_tried_again_later_and_later():
    with serve(**{"zygote-max-age-ms": 1000}) as server:
        name = deploy(server, "brittle")
        server.result(name)
        with broken_interpreter():
            found = daemon.wait_until(lambda: (
                lambda z: z if z["rotation_failures"] >= 3 and z["next_rotation_unix_ms"] / 1000 - time.time() > 1 else None)(
                    zygote(server, "brittle")), what="three tries, and the next four seconds after the third")
            server.result(name)
        after = generation_after(server, "brittle", found["generation"])
        assert after["rotation_failures"] == 0 and after["rotation_error"] == ""
        assert server.log_text().count("could not be replaced") <= 5
