"""Java: what a fork can get wrong, in fresh children of one zygote (docs/fork-correctness.md)."""
import contextlib
import ctypes
import os
import pathlib

import daemon
import java
import pytest

MIB = 1 << 20


@pytest.fixture(scope="module", params=["java", "java-g1"], ids=["serial", "g1"])
def probes(request, spored, probe_classes):
    return java.Probes(spored, daemon.make_zip(probe_classes), request.param)


def fresh(probes, handler, event=None, **how):
    return probes.result(handler, event, isolation="ISOLATION_INVOCATION", **how)


def test_siblings_share_no_randomness(probes):
    answers = [fresh(probes, "Probe::randomness") for _ in range(6)]
    for name in answers[0]:
        values = [answer[name] for answer in answers]
        assert len(set(values)) == len(values), f"{name}: {values}"


def test_generators_kept_since_the_zygote_are_seeded_anew(spored, probe_classes, tmp_path):
    """An image's own class path, preload list and warm-up hook."""
    shared = spored.directory / "kept.jar"
    java.jar(probe_classes, shared)
    place = f"/usr/share/java/spore-test-kept-{os.getpid()}.jar"
    try:
        with open(place, "wb") as file:
            file.write(shared.read_bytes())
        (spored.directory / "images/java-kept.toml").write_text(
            'runtime = "java"\npreload = ["probe.Kept", "probe.Kept::warmUp"]\n'
            f'[environment]\nCLASSPATH = "{place}"\n')
        spored.stop()
        spored.start()
        spored.deploy("kept", {"nothing": ""}, "probe.Probe::kept", "ISOLATION_INVOCATION",
                      runtime="java", image="java-kept")
        answers = [spored.result("kept") for _ in range(5)]
        assert {answer["hooked"] for answer in answers} == {1}
        for name in ("SHA1PRNG", "DRBG"):
            assert len({answer[name] for answer in answers}) == 5, answers
    finally:
        os.unlink(place)


def test_a_request_loads_no_class_of_the_hosts(spored, probe_classes):
    """What the zygote has not loaded, each child would load again, from the host's jars."""
    (spored.directory / "images/java-told.toml").write_text(
        'runtime = "java"\noptions = ["-Xlog:class+load=info:stdout:none"]\n')
    spored.stop()
    spored.start()
    told = java.Probes(spored, daemon.make_zip(probe_classes), "java-told")
    for handler, event in (("Shapes$Text", "x"), ("Shapes$Typed", {"id": "x", "count": 1, "tags": []}),
                           ("Shapes$Plain", {}), ("Shapes$Plain::fixed", None), ("Probe::stream", [1])):
        name = told.deploy(handler, "ISOLATION_INVOCATION")
        spored.result(name, event)
        lines = [line["text"].decode() for line in spored.call("Logs", "Read", {"function": name})["lines"]]
        loaded = [line for line in lines if " source: " in line]
        assert any(line.startswith("probe.") for line in loaded), lines
        assert not [line for line in loaded if "/run/spore/host/" in line], handler


def test_what_an_image_puts_on_the_platforms_class_path_is_found(spored, tmp_path):
    """Of a package that no module has; a class of the function's own, which is not there, is told."""
    (tmp_path / "classes").mkdir()
    java.compile_into(tmp_path / "classes", {"given/Given.java": "package given;\npublic class Given {\n"
                      "  public Object handle(Object event) { return event; }\n}\n"})
    place = f"/usr/share/java/spore-test-given-{os.getpid()}.jar"
    try:
        java.jar(tmp_path / "classes", place)
        (spored.directory / "images/java-given.toml").write_text(
            f'runtime = "java"\noptions = ["-Xbootclasspath/a:{place}"]\n')
        spored.stop()
        spored.start()
        for name in ("Given", "Missing"):
            spored.deploy(name, {"nothing": ""}, f"given.{name}", runtime="java", image="java-given")
        assert spored.result("Given", {"a": 1}) == {"a": 1}
        error = spored.failure("Missing")
        assert error["type"] == "Runtime.ImportModuleError" and "neither in /var/task" in error["message"], error
    finally:
        pathlib.Path(place).unlink(missing_ok=True)


def test_a_child_knows_who_it_is(probes):
    found = fresh(probes, "Probe::identity")
    assert found["handle"] == found["bean"] == found["proc"]
    assert found["name"].startswith(f"{found['proc']}@")
    assert found["alive"] and found["nano"] and found["exists"]
    assert found["user.dir"] == "/var/task"
    assert found["absolute"] == "/var/task/x" and found["path"] == "/var/task/y"


def test_the_hosts_classes_are_not_the_tenants(probes):
    found = fresh(probes, "Probe::loaders")
    assert found == {"spore.Context": 3, "spore.host.Host": 0, "spore.host.Native": 0,
                     "com.google.gson.Gson": 0, "SporeWarmHandler": 0}


def test_every_thread_is_there_and_confined(probes):
    threads = fresh(probes, "Probe::everyThread")
    names = {thread["Name"] for thread in threads}
    assert {"VM Thread", "Reference Handl", "Finalizer", "VM Periodic Tas", "Signal Dispatch"} <= names
    assert any(name.startswith("C2") for name in names) and any(name.startswith("C1") for name in names)
    daemon.assert_confined(threads)


def java_processes(spored):
    """Those of this daemon's children that have all of a JVM's threads."""
    found = []
    for pid, name in spored.tenant_processes().items():
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if name == "java" and len(os.listdir(f"/proc/{pid}/task")) > 8:
                found.append(pid)
    return found


def test_no_descriptor_is_shared_with_a_sibling(spored, probes):
    """kcmp(2) tells whether two descriptors are one open file: the jars' would share an offset."""
    name = probes.deploy("Probe::sleep", isolation="ISOLATION_INVOCATION")
    libc = ctypes.CDLL(None, use_errno=True)
    with spored.client() as one, spored.client() as other:
        for client in (one, other):
            client.send("Invocations", "Invoke", {"name": name, "payload": b"50000"})
        zygote = next(image["zygote_pid"] for image in spored.call("System", "Info")["images"]
                      if image["name"] == probes.image)

        def pair():
            found = [pid for pid in java_processes(spored) if pid != zygote and asleep(pid)]
            return found[:2] if len(found) >= 2 else None

        def asleep(pid):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as status:
                return "NoNewPrivs:\t1" in status.read()
            return False

        first, second = daemon.wait_until(pair, what="two functions sleep")
        numbers = set(os.listdir(f"/proc/{first}/fd")) & set(os.listdir(f"/proc/{second}/fd")) - {"0"}
        assert any(os.readlink(f"/proc/{first}/fd/{n}").endswith(".jar") for n in numbers)
        for number in map(int, numbers):
            for pid in (second, zygote):
                same = libc.syscall(312, first, pid, 0, number, number) == 0
                assert not same, (number, os.readlink(f"/proc/{first}/fd/{number}"))


def test_threads_pools_and_parallel_streams(probes):
    found = fresh(probes, "Probe::threads", {"count": 20})
    assert found == {"done": 20, "sum": 4950, "ended": True, "parallel": 33334}


def test_timers(probes):
    assert fresh(probes, "Probe::timers") == {"ticked": True, "once": True, "slept": True}


def test_garbage_collection_with_threads(probes):
    found = fresh(probes, "Probe::garbage")
    assert found["collections"] > 0 and found["sound"] == 600
    assert found["cleared"] and found["cleaned"]
    assert any(("G1" in pool) == ("g1" in probes.image) for pool in found["pools"])


def test_compilation_goes_on(probes):
    assert fresh(probes, "Probe::compilation") == {"compiled": True, "sum": True}


def test_file_channels(probes):
    assert fresh(probes, "Probe::files") == "Jello channel"


def test_socket_channels_and_selectors(probes):
    assert fresh(probes, "Probe::sockets") == "ping"


def test_programs_are_started_by_the_child(probes):
    found = fresh(probes, "Probe::child")
    assert found["code"] == 3 and found["text"] == f"out of {found['pid']}"


def test_uncaught_exceptions_end_their_thread_only(probes):
    response = probes.invoke("Probe::uncaught", isolation="ISOLATION_INVOCATION",
                             meta={"log_tail": True})
    assert response["result"] == "alive"
    assert b'Exception in thread "doomed" java.lang.IllegalStateException' in response["log_tail"]


def test_200_fresh_sandboxes_in_a_row(spored, probes):
    name = probes.deploy("Probe::counted", isolation="ISOLATION_INVOCATION")
    seen = set()
    for _ in range(200):
        answer = spored.invoke(name)
        assert answer["error"] is None, answer
        assert answer["result"]["count"] == 1 and answer["start_kind"] == "START_KIND_FORK"
        seen.add(answer["instance_id"])
    assert len(seen) == 200
