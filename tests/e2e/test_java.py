"""Java functions in use: handlers of every shape, what they see, errors, limits, bad input."""
import json

import daemon
import java
import pytest

MIB = 1 << 20


@pytest.fixture(scope="module")
def probes(spored, probe_classes):
    return java.Probes(spored, daemon.make_zip(probe_classes))


# ---- use ----

@pytest.mark.parametrize("event", [
    None, True, 0, -1.5, "", "text \u2603 \U0001f40d", [], {}, {"a": [1, {"b": None}]},
    [[[[[]]]]], {"": ""}, 2**53, 2**70, -2**63, 1e300, "\u0000",
], ids=repr)
def test_events_come_back_as_they_were(probes, event):
    assert probes.result("Probe::echo", event) == event


def test_shapes_of_handlers(probes):
    order = {"id": "x", "count": 3, "tags": ["a", "b"]}
    assert probes.result("Shapes$Typed", order) == {"text": "x[a, b]", "total": 4.5, "raw": "AQID"}
    assert probes.result("Shapes$Text", "hi") == "hi!"
    assert probes.result("Shapes$Plain", {"a": 1})["event"] == {"a": 1}
    assert probes.result("Shapes$Plain::add", {"a": 1, "b": 2}) == 3
    assert probes.result("Shapes$Plain::fixed") == "static"
    assert probes.result("Probe::stream", {"a": 1}) == [{"a": 1}, 256]
    assert probes.result("Shapes$Numbers", [1, 3 * 10**9, 1.5, 10**20, None, True, "x", {}, []]) == [
        "Integer", "Long", "Double", "BigInteger", "null", "Boolean", "String", "LinkedHashMap",
        "ArrayList"]
    response = probes.invoke("Shapes$Plain::nothing", meta={"log_tail": True})
    assert response["result"] is None and b"logged through the context" in response["log_tail"]


def test_an_instance_is_reused_and_a_fresh_one_is_fresh(probes):
    first, second = probes.invoke("Probe::counted"), probes.invoke("Probe::counted")
    assert (first["start_kind"], second["start_kind"]) == ("START_KIND_FORK", "START_KIND_WARM")
    assert (first["result"]["count"], second["result"]["count"]) == (1, 2)
    fresh = [probes.invoke("Probe::counted", isolation="ISOLATION_INVOCATION") for _ in range(3)]
    assert {answer["result"]["count"] for answer in fresh} == {1}
    assert {answer["start_kind"] for answer in fresh} == {"START_KIND_FORK"}


def test_context_has_lambda_names(probes):
    described = probes.result("Shapes$Described", {},
                              meta={"client_context": b'{"custom": {"k": "v"}}'})
    name = described["function_name"]
    assert described["function_version"] == "$LATEST" and described["memory_limit_in_mb"] == 256
    assert len(described["aws_request_id"]) == 36
    assert name in described["invoked_function_arn"] and name in described["log_group_name"]
    assert 0 < described["later"] < described["remaining"] <= 60000
    assert described["custom"] == {"custom": {"k": "v"}}


def test_environment_is_what_was_deployed(spored, probe_classes):
    probes = java.Probes(spored, daemon.make_zip(probe_classes), environment={"GREETING": "h\u00e4llo", "EMPTY": ""})
    found = probes.result("Probe::environment")
    probes.remove()
    assert found["GREETING"] == "h\u00e4llo" and found["EMPTY"] == ""
    assert found["LAMBDA_TASK_ROOT"] == "/var/task" and found["_HANDLER"] == "probe.Probe::environment"
    assert not [name for name in found if name.startswith(("SPORE_", "LD_", "SUDO_", "JAVA_"))]


def test_jars_are_class_paths(spored, probe_classes, tmp_path):
    """The whole code as one jar; a library in lib/; and a jar beside what it needs."""
    whole = java.jar(probe_classes, tmp_path / "app.jar")
    done = spored.cli("function", "deploy", "as-jar", "--runtime", "java", "--handler",
                      "probe.Probe::echo", whole)
    assert done.code == 0, done
    assert spored.result("as-jar", [1]) == [1]
    main = tmp_path / "main"
    main.mkdir()
    java.compile_into(main, {"Uses.java": "public class Uses { public Object handle(Object e) {"
                             " return new String[] {String.valueOf(probe.Probe.echo(e)),"
                             " getClass().getResource(\"/note.txt\").getPath()}; } }"}, [whole])
    (main / "note.txt").write_text("a resource")
    (main / "lib").mkdir()
    (main / "lib/probe.jar").write_bytes(whole.read_bytes())
    spored.deploy("with-lib", main, "Uses", runtime="java")
    assert spored.result("with-lib", 5) == ["5", "/var/task/note.txt"]
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "a.jar").write_bytes(whole.read_bytes())
    spored.deploy("jar-in-folder", beside, "probe.Shapes$Text", runtime="java")
    assert spored.result("jar-in-folder", "x") == "x!"


AWS = {
    "com/amazonaws/services/lambda/runtime/Context.java":
        "package com.amazonaws.services.lambda.runtime;\n"
        "public interface Context { String getFunctionName(); int getMemoryLimitInMB();\n"
        "LambdaLogger getLogger(); ClientContext getClientContext(); Object getIdentity(); }",
    "com/amazonaws/services/lambda/runtime/LambdaLogger.java":
        "package com.amazonaws.services.lambda.runtime;\n"
        "public interface LambdaLogger { void log(String text); void log(byte[] text); }",
    "com/amazonaws/services/lambda/runtime/ClientContext.java":
        "package com.amazonaws.services.lambda.runtime;\n"
        "public interface ClientContext { java.util.Map<String, String> getCustom(); }",
    "com/amazonaws/services/lambda/runtime/RequestHandler.java":
        "package com.amazonaws.services.lambda.runtime;\n"
        "public interface RequestHandler<I, O> { O handleRequest(I input, Context context); }",
    "Ported.java":
        "import com.amazonaws.services.lambda.runtime.*;\nimport java.util.*;\n"
        "public class Ported implements RequestHandler<Map<String, String>, List<Object>> {\n"
        "  public List<Object> handleRequest(Map<String, String> event, Context context) {\n"
        "    context.getLogger().log(\"by lambda's logger\\n\");\n"
        "    return Arrays.asList(event.get(\"a\"), context.getFunctionName(),\n"
        "        context.getMemoryLimitInMB(), context.getIdentity(),\n"
        "        context.getClientContext().getCustom());\n  }\n}\n",
}


def test_handlers_written_for_lambda(spored, tmp_path):
    """AWS's own interfaces (here by name; their jar is not Debian's), which the code brings."""
    out = tmp_path / "out"
    out.mkdir()
    spored.deploy("ported", java.compile_into(out, AWS), "Ported", runtime="java")
    response = spored.invoke("ported", {"a": "b"}, log_tail=True, client_context=b'{"custom": {"k": "v"}}')
    assert response["result"] == ["b", "ported", 128, None, {"k": "v"}], response
    assert b"by lambda's logger" in response["log_tail"]


def test_large_payload(probes):
    event = "x" * (900 << 10)
    assert probes.result("Probe::echo", event) == event


# ---- errors ----

@pytest.mark.parametrize("what,kind,message", [
    ("broken", "probe.Faults$Broken", "broken: null"),
    ("peculiar", "probe.Faults$Peculiar", "not printable"),
    ("recursion", "java.lang.StackOverflowError", ""),
    ("long", "java.lang.IllegalStateException", "xxx"),
    ("surrogate", "java.lang.IllegalStateException", "half ? of a pair"),
    ("error", "java.lang.AssertionError", "an error"),
])
def test_exceptions_of_every_kind(probes, what, kind, message):
    error = probes.failure("Faults::fails", {"what": what})
    assert error["type"] == kind and message in error["message"], error
    assert len(error["message"]) < 1 << 20 and 0 < len(error["stack_trace"]) <= 200
    assert "probe.Faults.fails(Faults.java:" in "\n".join(error["stack_trace"])
    assert "spore.host" not in str(error) and error["death"] is None
    assert probes.failure("Faults::fails", {"what": "again"})["message"] == "again"


def test_causes_are_told(probes):
    stack = probes.failure("Faults::fails", {"what": "caused"})["stack_trace"]
    assert "Caused by: java.io.IOException: inner" in stack


@pytest.mark.parametrize("handler,kind,words", [
    ("Nope", "Runtime.ImportModuleError", "neither in /var/task nor in a jar"),
    ("Shapes$Plain::nope", "Runtime.HandlerNotFound", "no public method 'nope'"),
    ("Shapes$Plain::odd", "Runtime.HandlerNotFound", "other parameters"),
    ("Shapes", "Runtime.HandlerNotFound", "implements no RequestHandler"),
    ("Faults$Abstract", "Runtime.HandlerNotFound", "cannot be instantiated"),
    ("Faults$BadStart", "java.lang.NumberFormatException", "not a number"),
    ("Faults$BadMake", "java.lang.IllegalStateException", "will not be made"),
])
def test_handlers_that_cannot_be_had(probes, handler, kind, words):
    error = probes.failure(handler)
    assert error["type"] == kind and words in error["message"], error


def test_classes_of_a_newer_java_are_told(spored, probe_classes):
    made = bytearray((probe_classes / "probe/Shapes$Text.class").read_bytes())
    made[6:8] = (99).to_bytes(2, "big")
    spored.deploy("newer", {"probe/Shapes$Text.class": bytes(made)}, "probe.Shapes$Text", runtime="java")
    error = spored.failure("newer", "x")
    assert error["type"] == "Runtime.ImportModuleError" and "more recent version" in error["message"]


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\xca\xfe\xba\xbe\0\0\0\x3d"], ids=repr)
def test_damaged_classes_are_told(spored, content):
    spored.deploy("damaged", {"Bad.class": content, "x": "y"}, "Bad", runtime="java")
    error = spored.failure("damaged")
    spored.remove_function("damaged")
    assert error["type"] == "Runtime.ImportModuleError" and "Bad" in error["message"], error


@pytest.mark.parametrize("payload", [b"{", b"nope", b"[1] 2", b"'a'", b'{"a":01}', b'"\xff"', b"NaN",
                                     b"[" * 100_000], ids=lambda p: repr(p[:20]))
def test_events_that_are_not_json(spored, probes, payload):
    name = probes.deploy("Probe::echo")
    with spored.client() as client:
        try:
            error = client.call("Invocations", "Invoke", {"name": name, "payload": payload})["error"]
        except Exception as refused:  # told before a function saw it
            assert "payload" in str(refused)
            return
    assert error["type"] == "Runtime.UnmarshalError" and error["message"], error


@pytest.mark.parametrize("handler,event", [
    ("Shapes$Typed", {"count": "three"}), ("Shapes$Typed", [1]), ("Shapes$Typed", "text"),
    ("Shapes$Text", {"a": 1}), ("Shapes$Plain", [1]), ("Shapes$Plain::add", {"a": "x"}),
    ("Shapes$Numbers", {"a": 1}),
], ids=repr)
def test_events_of_another_type(probes, handler, event):
    error = probes.failure(handler, event)
    assert error["type"] == "Runtime.UnmarshalError" and error["message"], error


@pytest.mark.parametrize("what", ["thread", "nan", "surrogate", "endless", "deep", "loader", "class"])
def test_results_that_json_cannot_say(probes, what):
    error = probes.failure("Faults::unserializable", {"what": what})
    assert error["type"] == "Runtime.MarshalError" and error["message"], error
    assert probes.invoke("Faults::unserializable", {"what": "ok"})["start_kind"] == "START_KIND_WARM"


@pytest.mark.parametrize("handler", ["", "com/example/Handler", "a..B", "B::", "::m", "B:m", "B.m()",
                                     "x" * 200], ids=repr)
def test_handlers_that_are_none(spored, handler):
    descriptor = daemon.ttrpc.sealed_memfd(daemon.make_zip({"x": "y"}))
    error = spored.error_of("Functions", "Deploy", {"name": "bad", "settings": {
        "runtime": "java", "handler": handler}}, [descriptor])
    assert "package.Class" in str(error), error


# ---- limits and deaths ----

def died(response, cause, kind):
    error = response["error"]
    assert error and error["type"] == kind, response
    assert error["death"]["cause"] == cause, error
    return error


@pytest.mark.parametrize("image", ["", "java-g1"], ids=["serial", "g1"])
class TestHeap:
    """The heap grows as far as the function's memory allows, not as the zygote's."""

    @pytest.fixture
    def own(self, spored, probe_classes, image):
        probes = java.Probes(spored, daemon.make_zip(probe_classes), image)
        yield probes
        probes.remove()

    def test_its_limit_follows_the_functions(self, own, image):
        for megabytes in (96, 256, 1024):
            found = own.result("Probe::memory", memory_bytes=megabytes * MIB)
            assert megabytes / 2 < found["max"] < megabytes, found

    @pytest.mark.parametrize("piece", [1000, 100_000, 1 << 20, 1 << 30])
    def test_beyond_it_java_says_so(self, own, image, piece):
        error = own.failure("Faults::eats", {"piece": piece}, memory_bytes=128 * MIB)
        assert error["type"] == "java.lang.OutOfMemoryError" and error["message"] == "Java heap space"
        assert error["death"] is None
        assert own.failure("Faults::eats", {"piece": piece}, memory_bytes=128 * MIB)["death"] is None

    def test_garbage_is_collected_before_it(self, own, image):
        assert own.result("Faults::churns", {"bytes": 10**9}, memory_bytes=96 * MIB) == 10**9

    def test_memory_outside_of_the_heap_is_limited_by_the_kernel(self, own, image):
        died(own.invoke("Faults::eatsNative", memory_bytes=128 * MIB), "OUT_OF_MEMORY", "Runtime.OutOfMemory")


def test_deadline(probes):
    error = died(probes.invoke("Faults::loops", timeout_ms=700), "TIMEOUT", "Sandbox.Timedout")
    assert "0.70 seconds" in error["message"]


@pytest.mark.parametrize("event", [{"code": 3}, {"code": 0}, {"code": 255, "halt": True}], ids=repr)
def test_exits_are_told(probes, event):
    error = died(probes.invoke("Faults::exits", event), "EXIT", "Runtime.ExitError")
    assert error["death"]["exit_code"] == event["code"]


def test_shutdown_hooks_run(probes):
    response = probes.invoke("Probe::hooks", meta={"log_tail": True})
    assert response["error"]["death"]["exit_code"] == 7 and b"the hook ran" in response["log_tail"]


def test_a_crash_is_told(probes):
    error = died(probes.invoke("Faults::crashes"), "SIGNAL", "Runtime.ExitError")
    assert error["death"]["signal"] == 6


def test_threads_are_limited(probes):
    answer = probes.result("Faults::threads", pids=64)
    assert 10 < answer["started"] < 64 and "unable to create native thread" in answer["error"]


def test_too_few_threads_for_java_are_told(spored, probes):
    name = probes.deploy("Probe::echo", pids=4)
    message = str(spored.error_of("Invocations", "Invoke", {"name": name}))
    assert "thread" in message, message


def test_open_files(probes):
    answer = probes.result("Faults::opens", open_files=64)
    assert answer["opened"] < 64 and "Too many open files" in answer["error"]


def test_tmp_is_bounded(probes):
    answer = probes.result("Faults::fills", tmp_bytes=4 * MIB)
    assert 2 * MIB <= answer["written"] <= 5 * MIB and "No space left" in answer["error"]


def test_response_too_large(probes):
    assert probes.result("Faults::answers", {"bytes": 998}, response_bytes=1000) == "x" * 998
    error = probes.failure("Faults::answers", {"bytes": 999}, response_bytes=1000)
    assert error["type"] == "Function.ResponseSizeTooLarge"


def test_output_flood_is_cut(spored, probes):
    name = probes.deploy("Faults::floods", output_bytes=200_000)
    assert spored.result(name, {"lines": 20_000}) == 20_000
    logged = spored.call("Logs", "Read", {"function": name})["lines"]
    assert any(b"cut" in line["text"] for line in logged if line["stream"] == "SYSTEM")


def test_a_closed_channel_is_told(probes):
    error = died(probes.invoke("Faults::closes", {"last": 3}), "PROTOCOL", "Runtime.ExitError")
    assert "closed its request channel" in error["message"]


def test_closing_what_the_jvm_needs_ends_the_instance(probes):
    """Its own jars and sets are among them: HotSpot 17 goes on to the end, 21 may crash before."""
    error = probes.invoke("Faults::closes", {"last": 8})["error"]
    assert error["death"]["cause"] in ("PROTOCOL", "SIGNAL"), error
    assert error["type"] == "Runtime.ExitError"


def test_rubbish_in_the_channel_is_told(probes):
    error = died(probes.invoke("Faults::rubbish"), "PROTOCOL", "Runtime.ExitError")
    assert "rubbish" in error["message"]


# ---- images ----

def test_an_image_says_what_it_cannot_preload(spored, probe_classes):
    images = spored.directory / "images"
    cases = {"missing": ('preload = ["no.such.Class"]', "preload no.such.Class"),
             "options": ('options = ["-XX:+NoSuchFlag"]', ""),
             "gone": ('interpreter = "/usr/bin/no-java"', "/usr/bin/no-java is not installed")}
    for name, (line, _) in cases.items():
        (images / f"java-{name}.toml").write_text(f'runtime = "java"\n{line}\n')
    spored.stop()
    spored.start()
    archive = daemon.make_zip(probe_classes)
    for name, (_, words) in cases.items():
        spored.deploy(name, archive, "probe.Probe::echo", runtime="java", image=f"java-{name}")
        message = str(spored.error_of("Invocations", "Invoke", {"name": name}))
        assert "cannot be used" in message and words in message, message
        spored.remove_function(name)
        (images / f"java-{name}.toml").unlink()


def test_the_example(spored, tmp_path):
    out = tmp_path / "classes"
    out.mkdir()
    java.compile_into(out, sorted((daemon.ROOT / "examples/hello-java").rglob("*.java")))
    spored.deploy("example", out, "com.example.Hello", runtime="java")
    assert spored.result("example", {"name": "ada"}) == {"message": "hello, ada"}


def test_deployed_by_the_command_line(spored, probe_classes):
    done = spored.cli("function", "deploy", "by-cli", "--runtime", "java", "--handler",
                      "probe.Probe::echo", probe_classes)
    assert done.code == 0 and "image java" in done.out, done
    done = spored.cli("invoke", "by-cli", "--payload", '{"a": 1}')
    assert done.code == 0 and json.loads(done.out) == {"a": 1}, done
