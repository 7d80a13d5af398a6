"""Zygotes of library sets: who is served by which, when they come and go, and what if one cannot."""
import concurrent.futures
import contextlib
import json
import os
import signal
import threading
import time

import daemon
import pytest
import sets
import ttrpc

NUMPY = """runtime = "python"
preload = ["json"]
[environment]
OPENBLAS_NUM_THREADS = "1"
[[set]]
name = "numpy"
modules = ["numpy"]
"""

THREADS = """runtime = "python"
preload = ["json"]
threads = true
[environment]
OPENBLAS_NUM_THREADS = "3"
[[set]]
name = "numpy"
modules = ["numpy"]
"""

@pytest.fixture(scope="module", autouse=True)
def place():
    with sets.place():
        yield


@pytest.fixture(scope="module")
def python(place):
    with sets.serve(images=[("numbers", NUMPY), ("pooled", THREADS)]) as server:
        os.chmod(server.socket, 0o666)
        yield server


@pytest.fixture(scope="module")
def node(place):
    with sets.serve(kit=sets.NODE) as server:
        os.chmod(server.socket, 0o666)
        yield server


@pytest.fixture(scope="module", params=sets.KITS)
def spored(request):
    """What is the same with every runtime that has sets."""
    return request.getfixturevalue(request.param)


def start_of(response):
    """The result, and the library set that the start says it came from."""
    assert response["error"] is None, response["error"]
    return response["result"], response["start_reason"].partition(", from library set ")[2]


def grow(server, function, name):
    """Calls the function until its set has a zygote; it is served all the while."""
    def served():
        response = server.invoke(function)
        assert response["error"] is None, response["error"]
        found = sets.of_set(server, name)
        return found and found["state"] == "READY"
    daemon.wait_until(served, what=f"a zygote of {name}: {sets.zygotes(server)}\n{server.log_text()}")
    return sets.of_set(server, name)


class Stream:
    """Calls one after another from some threads; every answer is kept, every failure told."""

    def __init__(self, server, function, threads=3):
        self.server, self.function, self.results, self.failures = server, function, [], []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.call) for _ in range(threads)]

    def call(self):
        while not self.over.is_set():
            try:
                self.results.append(start_of(self.server.invoke(self.function)))
            except (AssertionError, OSError, ttrpc.RpcError) as error:
                self.failures.append(error)

    def more(self, count=20):
        before = len(self.results)
        daemon.wait_until(lambda: len(self.results) >= before + count or self.failures, what="more answers")

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()
        assert not self.failures, self.failures[:3]


# ---- who is served by which ----

def test_function_is_served_by_the_set_that_it_imports(spored):
    name = sets.deploy(spored, "dear")
    assert start_of(spored.invoke(name)) == ("own", ""), "nothing is known of it yet"
    zygote = grow(spored, name, "dear")
    assert start_of(spored.invoke(name)) == ("set", "dear")
    root = next(z for z in sets.zygotes(spored) if not z["set"])
    assert zygote["pid"] not in (0, root["pid"]) and zygote["generation"] == root["generation"]
    assert zygote["import_us"] >= 100_000, "as the zygote has measured it"
    assert 3 << 20 <= zygote["unique_bytes"] < 30 << 20
    daemon.wait_until(lambda: (lambda z: z["forks"] >= 1 and z["sandboxes_ready"] >= 1 and z["memory_bytes"] > 0)(
        sets.of_set(spored, "dear")), what="it has made some ahead again")


def test_function_without_the_import_is_not(spored):
    sets.deploy(spored, "dear", "with")
    grow(spored, "with", "dear")
    sets.deploy(spored, "dear", "without", code=spored.kit.is_loaded)
    for _ in range(4):
        assert start_of(spored.invoke("without")) == (False, "")
    sets.deploy(spored, "other", "else")
    assert start_of(spored.invoke("else"))[1] == ""


def test_deepest_set_serves_and_its_parent_till_then(spored):
    name = sets.deploy(spored, "dearer")
    sets.deploy(spored, "dear", "shallow")
    grow(spored, "shallow", "dear")
    starts = []
    with contextlib.suppress(StopIteration):
        end = time.monotonic() + 60
        while (sets.of_set(spored, "dearer") or {}).get("state") != "READY" and time.monotonic() < end:
            starts.append(start_of(spored.invoke(name))[1])
    assert set(starts) <= {"", "dear", "dearer"} and "dear" in starts[1:], starts
    assert start_of(spored.invoke(name)) == ("set", "dearer")
    assert start_of(spored.invoke("shallow")) == ("set", "dear")
    assert sets.of_set(spored, "dearer")["parent"] == "dear"


def test_numpy(python):
    code = ("import os, numpy as np\ndef handler(event, context):\n"
            "    return [float(np.dot(np.arange(5.0), np.arange(5.0))), float(np.random.rand()), "
            "float(np.random.default_rng().random())]\n")
    python.deploy("numbers", {"app.py": code}, isolation="ISOLATION_INVOCATION", image="numbers",
                  libraries="numpy")
    assert python.cli("zygote", "warm", "numbers/numpy").code == 0
    found = [start_of(python.invoke("numbers")) for _ in range(6)]
    assert {start for _, start in found} == {"numpy"}
    assert {result[0] for result, _ in found} == {30.0}
    assert len({result[1] for result, _ in found}) == len({result[2] for result, _ in found}) == 6, \
        "siblings share no randomness"


def test_set_whose_library_has_threads(python):
    """Where the manifest allows them: copied into the set's zygote, and from there into sandboxes."""
    code = ("import os, numpy as np\ndef handler(event, context):\n"
            "    m = np.ones((400, 400))\n"
            "    return [float((m @ m)[3, 4]), len(os.listdir('/proc/self/task'))]\n")
    python.deploy("pooled", {"app.py": code}, isolation="ISOLATION_INVOCATION", image="pooled",
                  libraries="numpy", limits={"cpu_millis": 2000})
    done = python.cli("zygote", "warm", "pooled/numpy")
    assert done.code == 0, done
    for _ in range(3):
        assert start_of(python.invoke("pooled")) == ([400.0, min(3, os.cpu_count())], "numpy")


def test_libraries_can_be_named(spored):
    sets.deploy(spored, "dear", "named", libraries="dear")
    sets.deploy(spored, "dear", "declined", libraries="none")
    grow(spored, "named", "dear")
    assert start_of(spored.invoke("named")) == ("set", "dear")
    assert start_of(spored.invoke("declined")) == ("own", "")
    assert "Libraries:" in spored.cli("function", "show", "named").out
    done = spored.cli("function", "update", "named", "--libraries", "none")
    assert done.code == 0, done
    assert start_of(spored.invoke("named")) == ("own", "")
    assert spored.cli("function", "update", "named", "--libraries", "auto").code == 0
    daemon.wait_until(lambda: start_of(spored.invoke("named")) == ("set", "dear"), what="what fits")
    done = spored.cli("function", "update", "named", "--libraries", "nothing")
    assert done.code == 4 and 'image sets has no library set "nothing"; it has dear, ' in done.err, done
    done = spored.cli("function", "update", "named", "--image", spored.kit.name, "--libraries", "dear")
    assert done.code == 4 and f"image {spored.kit.name} has no library set" in done.err, done


def test_instances_loaded_ahead_come_from_the_set(spored):
    assert spored.cli("zygote", "warm", "sets/dear").code == 0
    sets.deploy(spored, "dear", "ahead", libraries="dear", min_instances=2)
    try:
        daemon.wait_until(lambda: len([i for i in spored.instances(function="ahead") if i["state"] == "IDLE"]) == 2,
                          what="two are ready")
        assert spored.result("ahead") == "set"
        advice = spored.cli("advise", "ahead", "--json").json()
        assert advice["load_us"] >= 100_000, "loaded anew, from the plain zygote"
    finally:
        spored.remove_function("ahead")


# ---- those that cannot be ----

def test_set_that_cannot_import_serves_by_its_parent(spored):
    sets.deploy(spored, "dear", "hopeful", libraries="missing")
    for _ in range(5):
        assert start_of(spored.invoke("hopeful")) == ("own", "")
    absent = sets.await_set(spored, "missing", state="ABSENT")
    daemon.wait_until(lambda: spored.kit.absent in sets.of_set(spored, "missing")["reason"], what="the reason is told")
    daemon.wait_until(lambda: spored.kit.absent in spored.cli("zygote", "ls", "--tree").out, what="and in the tree")
    done = spored.cli("zygote", "warm", "sets/missing")
    assert done.code == 4 and spored.kit.absent in done.err, done
    assert start_of(spored.invoke("hopeful")) == ("own", "")
    # It is tried again: once it can be had it serves.
    name, text = spored.kit.late
    (spored.kit.folder / name).write_text(text)
    daemon.wait_until(lambda: start_of(spored.invoke("hopeful"))[1] == "missing", what="it serves")
    assert absent["set"] == "missing" and "set missing" in spored.log_text()


def test_set_that_cannot_be_copied_is_refused(spored):
    done = spored.cli("zygote", "warm", "sets/unfit")
    assert done.code == 4 and spored.kit.unfit in done.err, done
    sets.deploy(spored, "dear", "goes-on")
    assert spored.invoke("goes-on")["error"] is None


def test_functions_do_not_wait_for_a_set(spored):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        warm = pool.submit(spored.cli, "zygote", "warm", "sets/slow")
        daemon.wait_until(lambda: sets.of_set(spored, "slow")["state"] == "STARTING", what="it starts")
        sets.deploy(spored, "other", "quick", libraries="slow")
        assert start_of(spored.invoke("quick"))[1] == ""
        assert warm.result().code == 0
    assert start_of(spored.invoke("quick"))[1] == "slow"


# ---- death ----

def test_idle_set_zygote_is_killed(spored):
    name = sets.deploy(spored, "dear", "survivor")
    zygote = grow(spored, name, "dear")
    os.kill(zygote["pid"], signal.SIGKILL)
    for _ in range(3):
        assert spored.invoke(name)["error"] is None
    daemon.wait_until(lambda: grow(spored, name, "dear")["pid"] != zygote["pid"], what="there is another")
    assert "set dear: it ended with signal 9" in spored.log_text()
    assert next(z for z in sets.zygotes(spored) if not z["set"])["generation"] == 1, "nothing else went"


def test_set_zygote_is_killed_while_it_forks(spored):
    name = sets.deploy(spored, "dear", "besieged")
    grow(spored, name, "dear")
    with Stream(spored, name) as stream:
        for _ in range(3):
            stream.more()
            zygote = daemon.wait_until(lambda: sets.of_set(spored, "dear"), what="one")
            with contextlib.suppress(ProcessLookupError):
                os.kill(zygote["pid"] or 0x3fffffff, signal.SIGKILL)
            stream.more()
    assert {result for result, _ in stream.results} <= {"own", "set"}
    grow(spored, name, "dear")


def test_parent_set_dies_and_child_goes_on(spored):
    assert spored.cli("zygote", "warm", "sets/dearer").code == 0
    sets.deploy(spored, "dearer", "deep", libraries="dearer")
    os.kill(sets.of_set(spored, "dear")["pid"], signal.SIGKILL)
    daemon.wait_until(lambda: sets.of_set(spored, "dear")["state"] != "READY", what="it is gone")
    assert start_of(spored.invoke("deep")) == ("set", "dearer")


def test_whole_tree_is_killed():
    with sets.serve() as server:
        name = sets.deploy(server, "dear")
        zygote = grow(server, name, "dear")
        root = next(z for z in sets.zygotes(server) if not z["set"])
        with Stream(server, name) as stream:
            for pid in (root["pid"], zygote["pid"]):
                os.kill(pid, signal.SIGKILL)
            stream.more(100)
        daemon.wait_until(lambda: sets.await_set(server, "dear")["generation"] > zygote["generation"],
                          what="it is made again")


def test_kill_9_of_the_daemon_ends_the_tree():
    with sets.serve() as server:
        assert server.cli("zygote", "warm", "sets/dearer").code == 0
        server.stop(signal.SIGKILL)
        daemon.wait_until(lambda: not server.tenant_processes(), what="no process outlives a killed daemon")
        server.start()


# ---- rotation and eviction ----

def test_rotation_takes_the_tree_along(spored):
    name = sets.deploy(spored, "dear", "rotated")
    before = grow(spored, name, "dear")
    with Stream(spored, name) as stream:
        stream.more()
        assert spored.cli("zygote", "rotate", "sets").code == 0
        after = sets.of_set(spored, "dear")
        assert after["state"] == "READY" and after["generation"] == before["generation"] + 1
        count = len(stream.results)
        stream.more(30)
    assert {start for _, start in stream.results[count + 3:]} == {"dear"}, "no start was without it"
    daemon.wait_until(lambda: not [z for z in sets.zygotes(spored) if z["state"] == "DRAINING"],
                      what="the old tree is gone")
    daemon.wait_until(lambda: not os.path.exists(f"/proc/{before['pid']}"), what="its process too")


def test_set_alone_is_not_rotated(spored):
    done = spored.cli("zygote", "rotate", "sets/dear")
    assert done.code == 2 and "has the same layout: rotate sets" in done.err, done


def test_eviction_of_a_set(spored):
    name = sets.deploy(spored, "dearer", "evicted", libraries="dearer")
    assert spored.cli("zygote", "warm", "sets/dearer").code == 0
    child, parent = sets.of_set(spored, "dearer"), sets.of_set(spored, "dear")
    assert spored.cli("zygote", "evict", "sets/dear").code == 0
    for zygote in (child, parent):
        daemon.wait_until(lambda z=zygote: not os.path.exists(f"/proc/{z['pid']}"), what="it has ended")
    assert sets.of_set(spored, "dearer")["reason"] == "it was evicted"
    assert start_of(spored.invoke(name)) == ("own", "")
    done = spored.cli("zygote", "evict", "sets/dear")
    assert done.code == 4 and "set dear has no zygote to evict" in done.err, done
    for command in ("evict", "warm"):
        done = spored.cli("zygote", command, "sets/")
        assert done.code == 4 and 'no image "sets/"' in done.err, done
        done = spored.cli("zygote", command, "sets/nothing")
        assert done.code == 4 and "has no library set \"nothing\"" in done.err, done


def test_only_root_may_warm_and_evict_sets(spored, stranger):
    for command in ("warm", "evict"):
        done = spored.cli("zygote", command, "sets/dear", prefix=stranger)
        assert done.code == 4 and f"only root may {command} zygotes" in done.err, done


def test_instances_of_an_evicted_set_go_on(spored):
    sets.deploy(spored, "dear", "stays")
    spored.call("Functions", "Update", {"name": "stays", "keep_environment": True, "settings": {
        "isolation": "ISOLATION_INSTANCE", "libraries": "dear"}})
    assert spored.cli("zygote", "warm", "sets/dear").code == 0
    first = spored.invoke("stays")
    assert start_of(first) == ("set", "dear")
    assert spored.cli("zygote", "evict", "sets/dear").code == 0
    again = spored.invoke("stays")
    assert again["instance_id"] == first["instance_id"] and again["result"] == "set"
    done = spored.cli("zygote", "evict", "sets")
    assert done.code == 4 and "live" in done.err, done
    assert spored.cli("zygote", "evict", "--force", "sets").code == 0


# ---- by itself ----

def test_set_ends_when_nothing_wants_it():
    with sets.serve(**{"library-idle-ms": 1000}) as server:
        name = sets.deploy(server, "dear")
        grow(server, name, "dear")
        gone = sets.await_set(server, "dear", state="ABSENT")
        assert gone["reason"] == "no start has wanted it lately" and gone["import_us"] >= 100_000
        assert start_of(server.invoke(name)) == ("own", "")


def test_memory_for_all_is_bounded():
    with sets.serve(**{"library-memory": "20MiB"}) as server:
        sets.deploy(server, "other", libraries="other")
        sets.deploy(server, "dear", libraries="dear")
        for _ in range(4):
            server.invoke("other")
        sets.await_set(server, "other")
        for _ in range(30):
            server.invoke("dear")
        sets.await_set(server, "dear")
        assert "dear" in server.log_text()
    with sets.serve(**{"library-memory": 0}) as server:
        sets.deploy(server, "dear", libraries="dear")
        for _ in range(6):
            assert start_of(server.invoke("dear")) == ("own", "")
        assert sets.of_set(server, "dear")["state"] == "ABSENT"
        assert server.cli("zygote", "warm", "sets/dear").code == 0, "asked for, it is made"


def test_eager_set_is_there_at_once_and_stays():
    eager = '[[set]]\nname = "dear"\nmodules = ["dear"]\neager = true\n'
    with sets.serve(eager, **{"library-idle-ms": 1000}) as server:
        assert server.cli("zygote", "warm", "sets").code == 0
        sets.await_set(server, "dear")
        time.sleep(2.5)
        assert sets.of_set(server, "dear")["state"] == "READY"
        assert server.cli("zygote", "rotate", "sets").code == 0
        assert sets.of_set(server, "dear")["state"] == "READY", "before it took over"


# ---- what is seen ----

def test_tree_is_listed(spored):
    assert spored.cli("zygote", "warm", "sets/dearer").code == 0
    lines = spored.cli("zygote", "ls", "--tree").out.splitlines()
    assert lines[0].split()[0] == "ZYGOTE"
    column = [line[:24].rstrip() for line in lines]
    at = next(i for i, text in enumerate(column) if text.split()[0] == "sets")
    assert lines[at + 1].startswith("|- dear ") and lines[at + 2].startswith("|  `- dearer "), lines
    absent = next(line for line in lines if "|- other" in line or "`- other" in line)
    assert any(word in absent for word in ("absent", "ready", "starting")), absent
    assert "sets/dearer" in spored.cli("zygote", "ls").out
    shown = spored.cli("image", "show", "sets").out
    assert "dearer: dearer; on top of dear" in shown


def manifests(tmp_path, text):
    folder = tmp_path / "images"
    folder.mkdir(exist_ok=True)
    (folder / "wrong.toml").write_text(text)
    config = tmp_path / "spore.toml"
    config.write_text(f'image-dirs = ["{folder}"]\nstate-dir = "{tmp_path}/s"\nruntime-dir = "{tmp_path}/r"\n'
                      f'socket = "{tmp_path}/sock"\n')
    return config


@pytest.mark.parametrize("text, complaint", [
    ('runtime = "python"\nset = 3', "[[set]]"),
    ('runtime = "python"\n[[set]]\nname = "a"', "must name at least one module"),
    ('runtime = "python"\n[[set]]\nmodules = ["a"]', "is not a name"),
    ('runtime = "python"\n[[set]]\nname = "auto"\nmodules = ["a"]', "has a meaning of its own"),
    ('runtime = "python"\n[[set]]\nname = "a"\nmodules = ["a;b"]', "is not the name of a module"),
    ('runtime = "python"\n[[set]]\nname = "a"\nmodules = ["a"]\ncolour = 1', "unknown key"),
    ('runtime = "python"\n[[set]]\nname = "a"\nmodules = ["a"]\nparent = "b"', "which is no set"),
    ('runtime = "python"\n[[set]]\nname = "a"\nmodules = ["a"]\nparent = "a"', "or below it"),
    ('runtime = "python"\n[[set]]\nname = "a"\nmodules = ["a"]\n[[set]]\nname = "a"\nmodules = ["b"]', "twice"),
    ('runtime = "native"\n[[set]]\nname = "a"\nmodules = ["libz.so.1"]', "cannot be copied into zygotes"),
    ('runtime = "node"\n[[set]]\nname = "a"\nmodules = ["./a"]', "is not the name of a module"),
    ('runtime = "python"\n[[set]]\nname = "a"\nmodules = [' + ", ".join(['"%s"' % ("m" * 90)] * 40) + "]",
     "too many"),
])
def test_wrong_sets_are_refused(tmp_path, text, complaint):
    import subprocess
    done = subprocess.run([daemon.find_program("spored"), "--config", str(manifests(tmp_path, text))],
                          capture_output=True, timeout=60, env=daemon.environment())
    assert done.returncode != 0 and complaint in done.stderr.decode(), done


# ---- hostile ----

LIAR = """import _spore, json, time
import spore_function
now = time.monotonic_ns() // 1000
%s
def handler(event, context):
    return "answered"
"""
LIES = {
    "claims all": "spore_function._loaded = lambda s, l: json.dumps({'began_us': 0, 'ended_us': 10**15, "
                  "'imported': l.get('watch', [])}).encode()",
    "names none knows": "spore_function._loaded = lambda s, l: json.dumps({'began_us': now, 'ended_us': now, "
                        "'imported': ['/etc/passwd', '', 'x' * 3000, '../dear', 'os;reboot']}).encode()",
}
RUBBISH = {
    "no list": "{'began_us': now, 'ended_us': now, 'imported': 'dear'}",
    "no names": "{'began_us': now, 'ended_us': now, 'imported': [1, {}]}",
    "too long": "{'began_us': now, 'ended_us': now, 'imported': ['x' * 5000]}",
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_of_imports_choose_among_the_sets_at_most(python, lie):
    python.deploy("liar", {"app.py": LIAR % LIES[lie]}, isolation="ISOLATION_INVOCATION", image="sets")
    try:
        before = {z["set"] for z in sets.zygotes(python)}
        for _ in range(5):
            assert python.result("liar") == "answered"
        assert {z["set"] for z in sets.zygotes(python)} == before, "no set that the operator did not name"
    finally:
        python.remove_function("liar")


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_rubbish_in_place_of_imports_ends_the_instance_alone(python, rubbish):
    code = LIAR % f"spore_function._loaded = lambda s, l: json.dumps({RUBBISH[rubbish]}).encode()"
    python.deploy("rubbish", {"app.py": code}, isolation="ISOLATION_INVOCATION", image="sets")
    try:
        assert python.failure("rubbish")["death"]["cause"] == "PROTOCOL"
        assert sets.of_set(python, "dear")
    finally:
        python.remove_function("rubbish")


# ---- advice ----

def test_advice_proposes_a_set(python):
    python.deploy("advised", {"app.py": "import json, helper, numpy\ndef handler(e, c):\n    raise SystemExit\n",
                              "helper.py": "import dear\n"}, image="sets")
    advice = python.cli("advise", "advised", "--json").json()
    modules = {module["name"]: module for module in advice["modules"]}
    assert modules["dear"]["self_us"] >= 100_000 and not modules["dear"]["own"]
    assert modules["dear"]["memory_bytes"] >= 3 << 20
    # What it imports takes a tenth of a second, which is not its own.
    assert modules["helper"]["own"] and modules["helper"]["total_us"] - modules["helper"]["self_us"] >= 100_000
    assert modules["numpy"]["total_us"] > modules["numpy"]["self_us"]
    assert "json" in advice["preloaded"] and advice["load_us"] >= 100_000
    assert [s["name"] for s in advice["sets"] if s["serves"]] == ["dear"]
    assert "numpy" in advice["proposed"]["modules"] and "dear" not in advice["proposed"]["modules"]
    assert advice["proposed"]["saves_us"] > 1000
    shown = python.cli("advise", "advised")
    assert shown.code == 0 and "[[set]]" in shown.out and "Library set dear serves it" in shown.out
    assert "Preloaded already: json" in shown.out


def test_proposed_fragment_can_be_pasted(tmp_path):
    plain = 'runtime = "python"\n[environment]\nOPENBLAS_NUM_THREADS = "1"\n'
    with sets.serve(images=[("plain", plain)]) as server:
        server.deploy("f", {"app.py": "import numpy\ndef handler(e, c):\n    return 1\n"}, image="plain",
                      isolation="ISOLATION_INVOCATION")
        advice = server.cli("advise", "f", "--json").json()
        fragment = advice["fragment"]
    with sets.serve(images=[("plain", plain + fragment)]) as server:
        name = advice["proposed"]["name"]
        assert server.cli("zygote", "warm", f"plain/{name}").code == 0
        server.deploy("f", {"app.py": "import numpy\ndef handler(e, c):\n    return 1\n"}, image="plain",
                      isolation="ISOLATION_INVOCATION")
        assert server.invoke("f")["error"] is None
        assert start_of(server.invoke("f"))[1] == name
        again = server.cli("advise", "f", "--json").json()
        assert [s["name"] for s in again["sets"] if s["serves"]] == [name] and not again.get("proposed")


def test_advice_when_there_is_nothing_to_say(python):
    python.deploy("spare", {"app.py": "import json\ndef handler(e, c):\n    return 1\n"}, image="sets")
    done = python.cli("advise", "spare")
    assert done.code == 0 and "No library set would pay." in done.out, done


def test_advice_that_cannot_be_had(python, stranger):
    python.deploy("broken", {"app.py": "import nowhere\n"}, image="sets")
    done = python.cli("advise", "broken")
    assert done.code == 4 and "cannot be loaded: Runtime.ImportModuleError" in done.err, done
    done = python.cli("advise", "nobody")
    assert done.code == 4 and 'no function "nobody"' in done.err, done
    done = python.cli("advise", "broken", prefix=stranger)
    assert done.code == 4 and 'no function "broken"' in done.err, done
    python.deploy("program", {"f.so": b""}, "f.so:f", runtime="native")
    done = python.cli("advise", "program")
    assert done.code == 4 and "runtime native cannot tell" in done.err, done


@pytest.mark.parametrize("answer", [
    "1", "'x'", "{}", "{'modules': 3}", "{'modules': [1, {}, {'name': 3}, {'name': ''}]}",
    "{'modules': [{'name': 'a\\x1b[31m\\n[[set]]', 'self_us': 2**63, 'own': 'yes'}] * 500}",
    "{'modules': [{'name': 'x' * 100000}], 'preloaded': ['y'] * 10000, 'loaded': 'dear'}", "'z' * 10**7",
])
def test_lies_of_a_measured_load_are_bounded(python, answer):
    """What a function says of its own imports reaches its owner alone, in a form that is checked."""
    code = ("import spore_measure\nspore_measure.Measure.report = lambda self, e, c: " + answer +
            "\ndef handler(e, c):\n    return 1\n")
    python.deploy("fibs", {"app.py": code}, image="sets")
    try:
        done = python.cli("advise", "fibs", "--json")
        if done.code == 0:
            advice = json.loads(done.out)
            assert len(advice["modules"]) <= 200 and len(advice["preloaded"]) <= 400
            assert "\x1b" not in done.out and advice["fragment"].count("[[set]]") <= 1
        else:
            assert done.code == 4 and "fibs" in done.err, done
    finally:
        python.remove_function("fibs")
