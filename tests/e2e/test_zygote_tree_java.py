"""Zygotes of library sets of Java: what is loaded once, by whom it is served, and what its copies have for themselves."""
import contextlib
import os
import pathlib

import daemon
import java
import pytest
import sets
from test_zygote_tree import Stream, start_of

JAR = pathlib.Path(f"/usr/share/java/spore-test-sets-{os.getpid()}.jar")
LIBRARY = {
    "lib/Dear.java": """package lib;
public class Dear {
  public static final String born = self();
  public static final java.security.SecureRandom random = new java.security.SecureRandom();
  public static int warmed;
  static { try { Thread.sleep(100); } catch (InterruptedException e) { throw new Error(e); } }
  public static String self() {
    try { return java.nio.file.Files.readSymbolicLink(java.nio.file.Path.of("/proc/self")).toString(); }
    catch (java.io.IOException e) { throw new Error(e); }
  }
  public static void warm() { warmed++; random.nextInt(); Math.random(); }
}
""",
    "lib/Dearer.java": """package lib;
public class Dearer { public static final String born = Dear.self(); public static final Dear dear = new Dear(); }
""",
    "lib/Throws.java": "package lib; public class Throws { static { if (true) throw new IllegalStateException(\"not today\"); } }",
}
IMAGE = f"""runtime = "java"
[environment]
CLASSPATH = "{JAR}"
[[set]]
name = "dear"
modules = ["lib.Dear", "lib.Dear::warm"]
[[set]]
name = "dearer"
parent = "dear"
modules = ["lib.Dearer"]
[[set]]
name = "throws"
modules = ["lib.Throws"]
"""
FUNCTION = {"Main.java": """import java.util.*;
public class Main {
  public static List<Object> dear(Object event) { return about(lib.Dear.born); }
  public static List<Object> dearer(Object event) { return about(lib.Dearer.born); }
  static List<Object> about(String born) {
    return Arrays.asList(born.equals(lib.Dear.self()) ? "own" : "set", lib.Dear.warmed, lib.Dear.random.nextLong(), Math.random(),
        UUID.randomUUID().toString(), new Random().nextLong(), ProcessHandle.current().pid(), Thread.activeCount());
  }
}
""", "Plain.java": "public class Plain { public static int handle(Object event) { return 1; } }"}


@pytest.fixture(scope="module")
def spored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("java")
    (folder / "library").mkdir()
    (folder / "function").mkdir()
    try:
        java.jar(java.compile_into(folder / "library", LIBRARY), JAR)
        java.compile_into(folder / "function", FUNCTION, [JAR])
        server = daemon.Spored()
        server.code = {path.name: path.read_bytes() for path in (folder / "function").iterdir()}
        (server.directory / "images/sets.toml").write_text(IMAGE)
        with server.running():
            assert zygote(server, "warm", "sets").code == 0
            yield server
    finally:
        with contextlib.suppress(FileNotFoundError):
            JAR.unlink()


def zygote(spored, action, name):
    """What the compiler's threads have to do takes longer than is waited for, on a machine that has much else to do."""
    def rested():
        done = spored.cli("zygote", action, name, timeout=300)
        return None if "does not come to rest" in done.err else done
    return daemon.wait_until(rested, 300, f"{action} {name}")


def deploy(spored, name, handler, **settings):
    spored.deploy(name, spored.code, handler, "ISOLATION_INVOCATION", image="sets", runtime="java", **settings)


def test_a_function_is_served_by_the_set_whose_classes_it_loads(spored):
    deploy(spored, "dear", "Main::dear", libraries="dear")
    deploy(spored, "plain", "Plain::handle")
    assert start_of(spored.invoke("plain")) == (1, "")
    done = zygote(spored, "warm", "sets/dear")
    assert done.code == 0, (done, spored.log_text())
    found = sets.of_set(spored, "dear")
    assert found["import_us"] >= 100_000 and found["unique_bytes"] > 0
    found = [start_of(spored.invoke("dear")) for _ in range(6)]
    assert {start for _, start in found} == {"dear"}
    results = [result for result, _ in found]
    assert {result[0] for result in results} == {"set"} and {result[1] for result in results} == {1}
    for at in (2, 3, 4, 5):
        assert len({result[at] for result in results}) == 6, (at, results)
    assert {result[6] for result in results} == {2}, "each is the second process of its sandbox"
    assert start_of(spored.invoke("plain")) == (1, "")
    shown = spored.cli("zygote", "ls", "--tree").out
    assert "|- dear" in shown or "`- dear" in shown


def test_a_set_of_a_set_and_what_is_seen_to_be_loaded(spored):
    deploy(spored, "dearer", "Main::dearer", libraries="dearer")
    assert zygote(spored, "warm", "sets/dearer").code == 0
    assert start_of(spored.invoke("dearer"))[1] == "dearer"
    assert start_of(spored.invoke("dearer"))[0][0] == "set"
    # Loading the handler's class loads no class that its methods use: nothing is seen of it.
    deploy(spored, "unseen", "Main::dear")
    assert [start_of(spored.invoke("unseen"))[1] for _ in range(3)] == [""] * 3
    spored.deploy("seen", {**spored.code, **compiled_field(spored)}, "Field::handle", "ISOLATION_INVOCATION", image="sets",
                  runtime="java")
    spored.invoke("seen")
    daemon.wait_until(lambda: start_of(spored.invoke("seen"))[1] == "dear", what="its class has one in a static field")


def compiled_field(spored):
    folder = spored.directory / "field"
    folder.mkdir()
    java.compile_into(folder, {"Field.java": "public class Field { static final Object dear = new lib.Dear();"
                                             "public static int handle(Object event) { return 1; } }"}, [JAR])
    return {"Field.class": (folder / "Field.class").read_bytes()}


def test_a_class_that_cannot_be_initialised_is_told(spored):
    done = zygote(spored, "warm", "sets/throws")
    assert done.code == 4 and "preload lib.Throws: java.lang.ExceptionInInitializerError" in done.err, done
    assert start_of(spored.invoke("plain")) == (1, "")


def test_eviction_and_rotation(spored):
    with Stream(spored, "plain", threads=1) as stream:
        stream.more(5)
        assert spored.cli("zygote", "evict", "sets/dear").code == 0
        assert sets.of_set(spored, "dear")["state"] == "ABSENT"
        assert zygote(spored, "warm", "sets/dear").code == 0
        before = sets.of_set(spored, "dear")
        assert zygote(spored, "rotate", "sets").code == 0
        after = sets.of_set(spored, "dear")
        assert after["state"] == "READY" and after["generation"] == before["generation"] + 1
        stream.more(5)


def test_advice_is_not_to_be_had(spored):
    done = spored.cli("advise", "plain")
    assert done.code == 4 and "runtime java cannot tell what importing takes; python and node can" in done.err, done
