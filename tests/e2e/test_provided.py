"""Runtime `provided`: functions that bring their own runtime, and get events over Lambda's Runtime API."""
import io
import json
import os
import pathlib
import signal
import zipfile

import daemon
import natives
import pytest
import ttrpc
from test_native_languages import go, rust

BASE = "/2018-06-01/runtime/"
MIB = 1 << 20
SHELL = daemon.ROOT / "examples/provided/bootstrap"
MISBEHAVES = (natives.SOURCES / "misbehaves.py").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("provided")


def deploy(spored, name, bootstrap, folder, mode=0o755, **settings):
    """From a folder, by the command line, as people do."""
    place = folder / name
    place.mkdir(exist_ok=True)
    if bootstrap is not None:
        content = bootstrap if isinstance(bootstrap, bytes) else bootstrap.encode()
        (place / "bootstrap").write_bytes(content)
        (place / "bootstrap").chmod(mode)
    options = [word for key, value in settings.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    done = spored.cli("function", "deploy", name, place, "--runtime", "provided", *options)
    assert done.code == 0, done


@pytest.fixture(scope="module")
def bad(spored, folder):
    """Calls the runtime that does what it is told."""
    deploy(spored, "bad", MISBEHAVES, folder, memory="256M")

    def call(do, **event):
        return spored.result("bad", {"do": do, **event})

    return call


def large(spored, name, event):
    """The result of a call whose payload and response are too large for a message."""
    payload = ttrpc.sealed_memfd(json.dumps(event).encode())
    try:
        with spored.client(180) as client:
            response = client.call("Invocations", "Invoke", {
                "name": name, "payload_attached": True, "payload_response_attached": True}, [payload])
            assert response["error"] is None, response["error"]
            assert response["payload_attached"]
            return json.loads(os.pread(client.received_fds[0], 8 * MIB, 0))
    finally:
        os.close(payload)


def compiled(language, folder):
    if language == "c++":
        return natives.program("runtime.cc", "-static").read_bytes()
    compiler = {"go": go, "rust": rust}[language]
    return compiler(folder / f"runtime-{language}", source=f"runtime.{'go' if language == 'go' else 'rs'}").read_bytes()


# ---- runtimes that people bring ----

def test_the_example_in_shell_with_curl(spored, folder):
    deploy(spored, "shell", SHELL.read_text(), folder, handler="my.handler")
    for number in range(3):
        answer = spored.invoke("shell", {"number": number})
        assert answer["result"] == {"handler": "my.handler", "event": {"number": number}}
    assert answer["start_kind"] == "START_KIND_WARM"
    big = "y" * (2 * MIB)  # curl asks whether it may send it
    assert spored.result("shell", big)["event"] == big
    log = spored.cli("logs", "shell").out
    assert log.count("answering ") == 4 and log.count("END RequestId") == 4


@pytest.mark.parametrize("language", ["c++", "go", "rust"])
def test_compiled_runtimes(spored, folder, language):
    program = compiled(language, folder)
    for isolation in ("instance", "invocation"):
        name = f"{language.replace('+', 'p')}-{isolation}"
        deploy(spored, name, program, folder, isolation=isolation)
        counts = [spored.result(name, {"n": n})["count"] for n in range(4)]
        assert counts == ([1, 2, 3, 4] if isolation == "instance" else [1, 1, 1, 1])
        text = "z" * (6 * MIB - 200)
        assert large(spored, name, text)["event"] == text


def test_go_says_in_a_trailer_that_a_stream_broke(spored, folder):
    deploy(spored, "stream", compiled("go", folder), folder)
    assert len(large(spored, "stream", {"bytes": 5 * MIB})["text"]) == 5 * MIB
    error = spored.failure("stream", {"do": "break", "bytes": MIB})
    assert (error["type"], error["message"]) == ("Stream.Broken", "half way")
    assert spored.result("stream", {})["count"] == 3


def test_many_invocations(spored, folder):
    deploy(spored, "many", compiled("c++", folder), folder)
    first = spored.invoke("many", 0)
    assert [spored.result("many", n)["count"] for n in range(300)] == list(range(2, 302))
    assert spored.invoke("many", 0)["instance_id"] == first["instance_id"]


# ---- what a runtime is told ----

def test_environment(spored, folder):
    deploy(spored, "told", MISBEHAVES, folder, handler="a.b", memory="200M")
    spored.cli("function", "update", "told", "--env", "OWN=mine", "--env", "_HANDLER=forged")
    found = spored.invoke("told", {"do": "environment"})
    instance, found = found["instance_id"], found["result"]
    expected = {"_HANDLER": "a.b", "LAMBDA_TASK_ROOT": "/var/task", "LAMBDA_RUNTIME_DIR": "/var/runtime",
                "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001", "AWS_LAMBDA_FUNCTION_NAME": "told",
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "200",
                "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "AWS_LAMBDA_LOG_GROUP_NAME": "/spore/told",
                "AWS_LAMBDA_LOG_STREAM_NAME": instance, "AWS_REGION": "local", "AWS_DEFAULT_REGION": "local",
                "TZ": "UTC", "LANG": "C.UTF-8", "HOME": "/tmp", "cwd": "/var/task", "OWN": "mine",
                "LD_LIBRARY_PATH": "/var/task:/var/task/lib"}
    assert {name: found.get(name) for name in expected} == expected
    assert "/usr/bin" in found["PATH"].split(":") and found["files"] == ["bootstrap"]
    assert "AWS_EXECUTION_ENV" not in found


def test_fields_of_an_event(spored, folder):
    deploy(spored, "fields", MISBEHAVES, folder, timeout="7s")
    context = {"client": {"installation_id": "ä"}, "custom": [1, 2]}
    response = spored.invoke("fields", {"do": "headers"},
                             client_context=json.dumps(context, indent=1, ensure_ascii=False).encode())
    found = response["result"]
    assert found["Lambda-Runtime-Aws-Request-Id"] in response["request_id"]
    assert found["Lambda-Runtime-Invoked-Function-Arn"].endswith(":function:fields")
    assert json.loads(found["Lambda-Runtime-Client-Context"].encode("latin-1")) == context
    root = found["Lambda-Runtime-Trace-Id"].split(";")[0].split("-")
    assert root[0] == "Root=1" and len(root[1]) == 8 and len(root[2]) == 24
    assert len(found["Lambda-Runtime-Deadline-Ms"]) == 13
    assert "Lambda-Runtime-Cognito-Identity" not in found and found["Content-Type"] == "application/json"


def test_an_event_may_be_anything(spored, bad):
    for event in (None, "text", [1, {"a": None}], 0, {"deep": [[[[]]]]}):
        assert spored.result("bad", event)["event"] == event


# ---- errors ----

def test_errors_that_it_reports(spored, bad):
    error = spored.failure("bad", {"do": "error"})
    assert (error["type"], error["message"]) == ("Custom.Error", "as told")
    assert error["stack_trace"] == ["first line", "second line"] and error["death"] is None
    assert bad("last") == [202, {"status": "OK"}]
    for body, expected in (("no JSON", ("Header.Type", "no JSON")), ("{}", ("Header.Type", "")),
                           ('{"errorType": "Own"}', ("Own", "")), ("[1]", ("Header.Type", "[1]")),
                           ('{"errorMessage": 7, "stackTrace": [1, "a"]}', ("Header.Type", ""))):
        error = spored.failure("bad", {"do": "error by header", "body": body})
        assert (error["type"], error["message"]) == expected, body
    error = spored.failure("bad", {"do": "error by header", "body": "m" * MIB})
    assert 1000 < len(error["message"]) <= 65536


@pytest.mark.parametrize("isolation", ["instance", "invocation"])
def test_ends_of_the_bootstrap(spored, folder, isolation):
    name = "ends-" + isolation
    deploy(spored, name, MISBEHAVES, folder, isolation=isolation, memory="256M")
    error = spored.failure(name, {"do": "exit", "code": 3})
    assert error["type"] == "Runtime.ExitError" and error["message"].endswith("Error: Runtime exited with error: exit status 3")
    assert (error["death"]["cause"], error["death"]["exit_code"]) == ("EXIT", 3)
    error = spored.failure(name, {"do": "exit", "code": 0})
    assert error["message"].endswith("Runtime exited without providing a reason")
    for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM):
        error = spored.failure(name, {"do": "kill", "signal": number})
        assert error["type"] == "Runtime.ExitError" and error["death"]["signal"] == number
    error = spored.failure(name, {"do": "half an answer"})
    assert error["death"]["exit_code"] == 7
    assert spored.failure(name, {"do": "kill the host"})["death"]["signal"] == signal.SIGKILL
    assert "leaving" in spored.cli("logs", name).out
    # One that ends after it has answered has answered; the next event goes to another instance.
    assert spored.result(name, {"do": "answer and exit", "code": 1}) == "the last"
    assert spored.result(name, 5)["event"] == 5


def test_no_answer_is_a_timeout(spored, folder):
    deploy(spored, "late", MISBEHAVES, folder, timeout="4s")
    error = spored.failure("late", {"do": "never"})
    assert error["type"] == "Sandbox.Timedout" and error["message"].endswith("Task timed out after 4.00 seconds")
    assert spored.result("late", 1)["event"] == 1


def test_a_bootstrap_that_cannot_be_started(spored, folder):
    cases = {"absent": (None, 0o755, 'no file "bootstrap"'), "closed": (b"#!/bin/sh\n", 0o644, "not executable"),
             "foreign": (b"#!/no/such/shell\n", 0o755, "bad interpreter: /no/such/shell"),
             "rubbish": (b"neither this nor that", 0o755, "neither a program nor a script"),
             "empty": (b"", 0o755, "an empty file")}
    for name, (content, mode, text) in cases.items():
        (folder / name).mkdir()
        (folder / name / "other.txt").write_text("beside")
        deploy(spored, name, content, folder, mode)
        error = spored.failure(name, {})
        assert error["type"] == "Runtime.InvalidEntrypoint" and text in error["message"], (name, error)


def test_a_runtime_that_does_not_begin(spored, folder):
    def failure(mode, **settings):
        name = "init-" + mode.replace(" ", "-")
        deploy(spored, name, MISBEHAVES, folder, env="MODE=" + mode, **settings)
        return spored.failure(name, {})

    for mode in ("init error", "restore error"):
        error = failure(mode)
        assert (error["type"], error["message"]) == ("Custom.Error", "as told")
        assert error["stack_trace"] == ["first line", "second line"]
    error = failure("exits at once")
    assert error["type"] == "Runtime.ExitError" and error["death"]["exit_code"] == 3
    assert "cannot go on" in spored.cli("logs", "init-exits-at-once").out
    assert failure("never asks", timeout="1s")["type"] == "Sandbox.Timedout"


# ---- the Runtime API, used badly ----

def test_wrong_ids_and_states(spored, folder, bad):
    for status, body in bad("wrong id"):
        assert (status, body["errorType"]) == (400, "InvalidRequestID")
    status, body = bad("next again")
    assert (status, body["errorType"]) == (403, "InvalidStateTransition")
    init, restore, failed = bad("init again")
    assert restore == 403
    assert {init[0], failed[0]} == {403} and init[1]["errorType"] == "InvalidStateTransition"
    assert spored.result("bad", {"do": "twice"}) == "first"
    first, second, third = bad("last")
    assert first == [202, {"status": "OK"}]
    for status, body in (second, third):
        assert (status, body["errorType"]) == (403, "InvalidStateTransition")
    deploy(spored, "early", MISBEHAVES, folder, env="MODE=answers before it asks")
    (status, body), *others = spored.result("early", {"do": "last"})
    assert (status, body["errorType"]) == (403, "InvalidStateTransition") and others == [405, 404, 404, 405, 403]
    deploy(spored, "restores", MISBEHAVES, folder, env="MODE=restores")
    assert spored.result("restores", {"do": "last"}) == [200, 403]


def test_responses_too_large(spored, folder):
    deploy(spored, "large", MISBEHAVES, folder, response_limit="1M")
    assert len(spored.result("large", {"do": "fill", "bytes": MIB})) == MIB - 2
    for do in ("large", "large, asking first"):
        error = spored.failure("large", {"do": do, "bytes": MIB + 1})
        assert error["type"] == "Function.ResponseSizeTooLarge" and str(MIB) in error["message"]
        assert error["death"] is None  # it lives on, unlike other runtimes: it was told
    said = spored.result("large", {"do": "last"})
    assert said.startswith("HTTP/1.1 413 ") and "100 Continue" not in said
    spored.failure("large", {"do": "large", "bytes": 30 * MIB})
    status, body = spored.result("large", {"do": "last"})
    assert (status, body["errorType"]) == (413, "RequestEntityTooLarge")


def test_bodies_in_other_ways(spored, bad):
    assert spored.result("bad", {"do": "chunks"}) == {"in": "chunks"}
    assert bad("last") == [202, {"status": "OK"}]
    assert spored.invoke("bad", {"do": "nothing"})["payload"] == b""
    with spored.client() as client:
        answer = client.call("Invocations", "Invoke", {"name": "bad", "payload": b'{"do": "bytes"}'})
    assert answer["payload"] == bytes(range(256))


def test_bytes_that_are_no_http(bad):
    get = f"GET {BASE}invocation/next HTTP/1.1\r\n"
    post = f"POST {BASE}init/error HTTP/1.1\r\n"
    requests = ["rubbish\r\n\r\n", "GET / HTTP/1.1\n\n", "GET nowhere HTTP/1.1\r\n\r\n", "GET / HTTP/2\r\n\r\n",
                "\0\0\0\0\r\n\r\n", get + " folded: x\r\n\r\n", get + "a b: c\r\n\r\n", get + "a: \1\r\n\r\n",
                post + "Content-Length: -1\r\n\r\n", post + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
                post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                post + "Transfer-Encoding: gzip\r\n\r\n", post + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
                post + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n", post + "Content-Length: 1e3\r\n\r\n",
                post + "Content-Length: 99999999999999999999\r\n\r\n", get + "a: " + "b" * (3 * MIB) + "\r\n\r\n"]
    statuses = [answer.split(" ")[1] for answer in bad("raw", requests=requests)]
    assert statuses == ["400", "400", "400", "505"] + ["400"] * 7 + ["501"] + ["400"] * 4 + ["431"], statuses
    # Two at once, a target as for a proxy, a client that wants the connection's end.
    proxied = "http:" + "//here" + BASE
    pair = bad("raw", requests=[f"GET {BASE}x HTTP/1.1\r\n\r\nGET {proxied}y?z HTTP/1.0\r\n\r\n"])[0]
    assert pair.count("HTTP/1.1 404") == 2 and pair.count("Connection: close") == 1 and "Timeout" not in pair
    assert bad("many connections") > 0


# ---- whose runtime dies while it waits ----

def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("mode", ["worker dies", "worker dies with event"])
def test_an_event_is_not_lost_with_who_waited_for_it(spored, folder, mode):
    name = mode.replace(" ", "-")
    deploy(spored, name, MISBEHAVES, folder, env="MODE=" + mode)
    assert spored.result(name, "kept")["event"] == "kept"


def test_events_of_a_bootstrap_that_died_idle_go_to_another(spored, folder):
    deploy(spored, "idle", MISBEHAVES, folder)
    seen = set()
    for number in range(5):
        answer = spored.invoke("idle", number)
        assert answer["error"] is None, (number, answer["error"])
        assert answer["result"]["event"] == number and answer["instance_id"] not in seen
        seen.add(answer["instance_id"])
        pid = next(i["pid"] for i in spored.instances(function="idle") if i["id"] == answer["instance_id"])
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        # It must have died, but nobody need have noticed.
        daemon.wait_until(lambda: not alive(int(children[0])), what="it has died")


# ---- kept ready, logs, deployment ----

@pytest.mark.parametrize("isolation", ["instance", "invocation"])
def test_instances_kept_ready_have_begun(spored, folder, isolation):
    name = "ready-" + isolation
    deploy(spored, name, MISBEHAVES, folder, isolation=isolation, min_instances=1)
    daemon.wait_until(lambda: [i for i in spored.instances(function=name) if i["state"] == "IDLE"], what="it is ready")
    answer = spored.invoke(name, {"do": "environment"})
    assert answer["result"]["AWS_LAMBDA_INITIALIZATION_TYPE"] == "provisioned-concurrency"
    assert "ahead" in answer["start_reason"], answer
    deploy(spored, name + "-not", MISBEHAVES, folder, min_instances=1, env="MODE=exits at once")
    daemon.wait_until(lambda: "could not be loaded ahead" in spored.cli("logs", name + "-not").out, what="its log tells")
    spored.remove_function(name + "-not")


def test_deploying(spored, folder):
    (folder / "plain").mkdir()
    (folder / "plain/bootstrap").write_text("#!/bin/sh\n")
    done = spored.cli("function", "deploy", "x", folder / "plain", "--runtime", "provided", "--handler", "a b")
    assert done.code != 0 and "handler" in done.err, done
    done = spored.cli("function", "deploy", "x", folder / "plain", "--runtime", "python")
    assert done.code != 0 and "--handler" in done.err, done
    deploy(spored, "default", MISBEHAVES, folder)
    assert spored.result("default", {"do": "environment"})["_HANDLER"] == "bootstrap"


def test_a_program_is_run_in_its_image(spored, tmp_path):
    script = tmp_path / "talks"
    script.write_text("#!/usr/bin/python3\nimport socket\ns = socket.create_server(('127.0.0.1', 0))\n"
                      "c = socket.create_connection(s.getsockname())\nprint('reached')\n")
    script.chmod(0o755)
    done = spored.cli("run", "--runtime", "provided", "--", script)
    assert (done.code, done.out) == (0, "reached\n"), done
    assert spored.cli("run", "--", script).code == 1


def test_the_archive_may_be_a_zip(spored):
    """As `zip` makes it, with the modes of its files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o100755 << 16
        archive.writestr(entry, SHELL.read_text())
        archive.writestr("other.txt", "beside it")
    spored.deploy("zip", buffer.getvalue(), runtime="provided", handler="")
    assert spored.result("zip", [1]) == {"handler": "bootstrap", "event": [1]}
