"""Work that others wrote, in forked JVMs: a compiler, two JSON libraries, a template engine."""
import hashlib
import json
import pathlib
import subprocess

import daemon
import java
import pytest

JARS = [pathlib.Path("/usr/share/java", name) for name in (
    "gson.jar", "jackson-core.jar", "jackson-annotations.jar", "jackson-databind.jar", "freemarker.jar")]
PROJECT = daemon.ROOT / "zygote/hosts/java"


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    """The classes, their libraries in lib/, and the Java host's own sources as a project."""
    folder = tmp_path_factory.mktemp("work") / "code"
    folder.mkdir()
    java.compile_into(folder, [java.SOURCES / "work/Work.java"], JARS)
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.class")}
    files.update({f"lib/{jar.name}": jar.read_bytes() for jar in JARS})
    for part in ("api", "host"):
        for path in (PROJECT / part).rglob("*.java"):
            files[f"project/{path.relative_to(PROJECT)}"] = path.read_bytes()
    return daemon.make_zip(files)


@pytest.fixture(scope="module", params=["java", "java-g1"], ids=["serial", "g1"])
def work(request, spored, code):
    def call(method, event, isolation="ISOLATION_INVOCATION"):
        name = f"work-{method}-{request.param}-{isolation[-4:].lower()}"
        if name not in {f["name"] for f in spored.call("Functions", "List")["functions"]}:
            spored.deploy(name, code, f"work.Work::{method}", isolation,
                          {"memory_bytes": 512 << 20, "timeout_ms": 120000}, "java", request.param)
        return spored.result(name, event)
    return call


@pytest.fixture(scope="module")
def compiled_outside(tmp_path_factory):
    out = tmp_path_factory.mktemp("outside")
    sources = [str(path) for part in ("api", "host") for path in sorted((PROJECT / part).rglob("*.java"))]
    subprocess.run(["javac", "-nowarn", "--release", "17", "-g", "-proc:none", "-cp", str(JARS[0]), "-d",
                    str(out), *sources], check=True, capture_output=True)
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in out.rglob("*.class")}


def test_a_project_is_compiled_as_outside(work, compiled_outside):
    """Byte for byte: the compiler uses most of a JVM, its own threads and collections included."""
    for _ in range(2):
        found = work("compiles", {"classPath": "/var/task/lib/gson.jar"})
        assert found["fine"], found["messages"]
        assert found["classes"] == compiled_outside


def test_it_is_compiled_again_and_again_in_one_jvm(work, compiled_outside):
    for _ in range(4):
        found = work("compiles", {"classPath": "/var/task/lib/gson.jar"}, "ISOLATION_INSTANCE")
        assert found["fine"] and found["classes"] == compiled_outside, found["messages"]


def test_json_libraries(work):
    inner = {"name": "in", "count": 1, "price": 0.5, "tags": ["deep", "\u2603"], "parts": None}
    items = [{"name": f"item {i}", "count": i, "price": i / 4, "tags": [str(i)] * 3,
              "parts": {"inner": inner}} for i in range(300)]
    found = work("json", json.dumps(items))
    assert found["nodes"] == 1500 and found["count"] == sum(range(300))
    assert found["deepest"] == ["deep", "\u2603"]
    assert json.loads(found["tree"]) == items
    assert [item["name"] for item in json.loads(found["text"])] == [item["name"] for item in items]


def test_a_template_engine(work):
    template = ("<#macro row item><tr><td>${item.name?upper_case}</td><td>${item.count?string(\"0.00\")}</td></tr>"
                "</#macro><#list items?sort_by(\"count\")?reverse as item><@row item/>\n</#list>"
                "<#assign total = 0><#list items as item><#assign total += item.count></#list>total ${total}")
    items = [{"name": f"n{i}", "count": (i * 7) % 50} for i in range(50)]
    rows = [f"<tr><td>{item['name'].upper()}</td><td>{item['count']:.2f}</td></tr>"
            for item in sorted(items, key=lambda item: item["count"])]
    expected = "".join(reversed(rows)) + f"total {sum(item['count'] for item in items)}".replace("1225", "1,225")
    assert work("template", {"template": template, "model": {"items": items}}) == expected
