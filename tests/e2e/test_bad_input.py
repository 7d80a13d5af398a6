"""Wrong requests: each gets an error that names the field, the value and what was expected."""
import os

import pytest
import ttrpc

HELLO = "def handler(event, context):\n    return 'fine'\n"
ODD_NAMES = ["", " ", "a b", "../x", "a/b", ".hidden", "-dash", "_under", "a" * 65, "ümlaut",
             "new\nline", "nul\0byte", "$(id)", "a.b", "a;b", "a'b", "\u202e", "%s%n"]


@pytest.fixture(scope="module", autouse=True)
def fine(spored):
    """Whatever is asked for, the rest of the system is unharmed."""
    spored.deploy("fine", {"app.py": HELLO})
    yield
    assert spored.result("fine") == "fine"


def invalid(spored, service, method, values, *words, fds=()):
    error = spored.error_of(service, method, values, fds)
    assert error.code == ttrpc.CODES["INVALID_ARGUMENT"], error
    for word in words:
        assert word in error.message, error.message
    return error


def unknown(spored, service, method, values, word, fds=()):
    """Refused because there is no such runtime or image."""
    error = spored.error_of(service, method, values, fds)
    assert error.code in (ttrpc.CODES["INVALID_ARGUMENT"], ttrpc.CODES["NOT_FOUND"]), error
    assert word in error.message, error.message


def deploy_values(**settings):
    return {"name": settings.pop("name", "bad"),
            "settings": {"runtime": "python", "handler": "app.handler", **settings}}


@pytest.fixture
def archive():
    import daemon
    descriptor = ttrpc.sealed_memfd(daemon.make_zip({"app.py": HELLO}))
    yield descriptor
    os.close(descriptor)


def test_unknown_function(spored):
    error = spored.error_of("Invocations", "Invoke", {"name": "nobody"})
    assert error.code == ttrpc.CODES["NOT_FOUND"] and "nobody" in error.message


@pytest.mark.parametrize("name", ODD_NAMES, ids=repr)
def test_names_with_odd_characters_are_refused(spored, archive, name):
    invalid(spored, "Functions", "Deploy", deploy_values(name=name), "name", fds=[archive])
    for service, method in (("Invocations", "Invoke"), ("Functions", "Get"),
                            ("Functions", "Remove")):
        error = spored.error_of(service, method, {"name": name})
        assert error.code in (ttrpc.CODES["INVALID_ARGUMENT"], ttrpc.CODES["NOT_FOUND"])


@pytest.mark.parametrize("name", ["a", "A0", "a-b_c", "9" * 64])
def test_names_at_the_edge_are_taken(spored, name):
    spored.deploy(name, {"app.py": HELLO})
    assert spored.result(name) == "fine"
    spored.remove_function(name)


def test_unknown_runtime_and_image(spored, archive):
    unknown(spored, "Functions", "Deploy", deploy_values(runtime="cobol"), "cobol", fds=[archive])
    invalid(spored, "Functions", "Deploy", deploy_values(runtime=""), "runtime", fds=[archive])
    unknown(spored, "Functions", "Deploy", deploy_values(image="no-such"), "no-such", fds=[archive])


@pytest.mark.parametrize("handler", ["", "app", ".handler", "app.", "a..b", "a b.c", "app.handler()",
                                     "../app.handler", "app.handler\n", "app\0.handler", "/app.handler",
                                     "a" * 300 + ".b"], ids=repr)
def test_handlers_that_cannot_be_names_are_refused(spored, archive, handler):
    invalid(spored, "Functions", "Deploy", deploy_values(handler=handler), "handler", fds=[archive])


def test_handler_with_slashes_is_taken_as_lambda_does(spored):
    spored.deploy("slashes", {"pkg/app.py": HELLO}, handler="pkg/app.handler")
    assert spored.result("slashes") == "fine"


@pytest.mark.parametrize("limits,word", [
    ({"memory_bytes": 1 << 20}, "memory"), ({"memory_bytes": 1 << 50}, "memory"),
    ({"cpu_millis": 9}, "cpu"), ({"cpu_millis": 4_000_000}, "cpu"),
    ({"pids": 32769}, "pids"), ({"tmp_bytes": 1}, "tmp"), ({"tmp_bytes": 1 << 40}, "tmp"),
    ({"open_files": 15}, "open_files"), ({"open_files": 1 << 21}, "open_files"),
    ({"timeout_ms": 86400001}, "timeout"), ({"payload_bytes": (64 << 20) + 1}, "payload"),
    ({"response_bytes": (64 << 20) + 1}, "response"), ({"output_bytes": (64 << 20) + 1}, "output"),
    ({"max_instances": 10001}, "max_instances"), ({"memory_bytes": (1 << 64) - 1}, "memory"),
], ids=repr)
def test_limits_out_of_range(spored, archive, limits, word):
    invalid(spored, "Functions", "Deploy", deploy_values(limits=limits), word,
            str(next(iter(limits.values()))), fds=[archive])


@pytest.mark.parametrize("environment", [
    {"": "x"}, {"A=B": "x"}, {"A\0": "x"}, {"A": "x\0y"}, {"A": "x" * (1 << 20)},
], ids=["empty", "equals", "nul in name", "nul", "huge"])
def test_environment_that_cannot_be(spored, archive, environment):
    invalid(spored, "Functions", "Deploy", deploy_values(environment=environment), "environment",
            fds=[archive])


@pytest.mark.parametrize("payload", [
    b"{", b"nonsense", b"{'single': 1}", b"[1,]", b"\xff\xfe", b'"\xff"', b"1 2", b"\0",
    b"[" * 100000, b" ",
], ids=lambda payload: repr(payload[:20]))
def test_payload_that_is_not_json(spored, payload):
    with spored.client() as client:
        try:
            response = client.call("Invocations", "Invoke", {"name": "fine", "payload": payload})
        except ttrpc.RpcError as error:
            assert error.code == ttrpc.CODES["INVALID_ARGUMENT"]
            assert "payload" in error.message or "JSON" in error.message
        else:
            assert response["error"]["type"] == "Runtime.UnmarshalError", response


def test_payload_too_large(spored):
    spored.deploy("small", {"app.py": HELLO}, limits={"payload_bytes": 1000})
    invalid(spored, "Invocations", "Invoke", {"name": "small", "payload": b'"%s"' % (b"x" * 999)},
            "payload", "1000")
    assert spored.result("small", "x" * 998) == "fine"
    descriptor = ttrpc.sealed_memfd(b'"%s"' % (b"x" * (7 << 20)))
    invalid(spored, "Invocations", "Invoke", {"name": "fine", "payload_attached": True},
            "payload", fds=[descriptor])
    os.close(descriptor)


def test_client_context_that_is_not_json(spored):
    invalid(spored, "Invocations", "Invoke", {"name": "fine", "client_context": b"{"},
            "client_context")


@pytest.mark.parametrize("code,handler,kind,words", [
    (HELLO, "absent.handler", "Runtime.ImportModuleError", ["absent"]),
    (HELLO, "app.absent", "Runtime.HandlerNotFound", ["absent"]),
    ("handler = 3\n", "app.handler", "Runtime.HandlerNotFound", ["callable"]),
    ("def handler(:\n", "app.handler", "Runtime.UserCodeSyntaxError", ["app.py"]),
    ("import no_such_module\n", "app.handler", "Runtime.ImportModuleError", ["no_such_module"]),
    ("raise ValueError('at import')\n", "app.handler", "ValueError", ["at import"]),
    ("import sys; sys.exit(3)\n", "app.handler", None, []),
    ("import os; os._exit(3)\n", "app.handler", "Runtime.ExitError", []),
    ("import time; time.sleep(60)\n", "app.handler", "Sandbox.Timedout", []),
    ("\0", "app.handler", None, ["null bytes"]),
], ids=["missing module", "missing attribute", "not callable", "syntax error", "import error",
        "raises at import", "exits at import", "ends at import", "hangs at import", "nul byte"])
def test_function_that_does_not_load(spored, code, handler, kind, words):
    spored.deploy("broken", {"app.py": code}, handler, limits={"timeout_ms": 4000})
    try:
        for _ in range(2):  # the second try fails in the same way: nothing half loaded is kept
            error = spored.failure("broken")
            assert kind is None or error["type"] == kind, error
            for word in words:
                assert word in error["message"] + "".join(error["stack_trace"]), error
    finally:
        spored.remove_function("broken")


@pytest.mark.parametrize("identity", ["", "zz", "000000000000", "../..", "%", "a" * 5000], ids=repr)
def test_instances_that_are_not(spored, identity):
    for method in ("Inspect", "Kill"):
        error = spored.error_of("Instances", method, {"id": identity})
        assert error.code in (ttrpc.CODES["NOT_FOUND"], ttrpc.CODES["INVALID_ARGUMENT"])


def test_ambiguous_prefix_is_refused(spored):
    code = "import time\ndef handler(e, c):\n    time.sleep(e)\n"
    spored.deploy("many", {"app.py": code}, isolation="ISOLATION_INVOCATION",
                  limits={"memory_bytes": 32 << 20})
    with spored.client() as client:
        for _ in range(20):
            client.send("Invocations", "Invoke", {"name": "many", "payload": b"25"})
        import daemon
        ids = daemon.wait_until(lambda: [i["id"] for i in spored.instances(function="many")][16:]
                                and [i["id"] for i in spored.instances(function="many")])
        shared = next(a[0] for a in ids if sum(b[0] == a[0] for b in ids) > 1)
        error = spored.error_of("Instances", "Kill", {"id": shared})
        assert error.code == ttrpc.CODES["INVALID_ARGUMENT"], error
        whole = spored.call("Instances", "Inspect", {"id": ids[0][:11]})
        assert whole["id"] == ids[0]


def test_run_with_wrong_arguments(spored):
    pipes = [os.open("/dev/null", os.O_RDWR) for _ in range(3)]
    try:
        unknown(spored, "Invocations", "Run", {"runtime": "cobol", "script": b"1", "args": ["x"]},
                "cobol", fds=pipes)
        invalid(spored, "Invocations", "Run",
                {"runtime": "python", "script": b"1", "args": ["x"], "limits": {"pids": 99999}},
                "pids", fds=pipes)
        invalid(spored, "Invocations", "Run",
                {"runtime": "python", "script": b"#" * (2 << 20), "args": ["x"]},
                "script", fds=pipes)
    finally:
        for descriptor in pipes:
            os.close(descriptor)


def test_logs_of_nobody(spored):
    error = spored.error_of("Logs", "Read", {"function": "nobody"})
    assert error.code == ttrpc.CODES["NOT_FOUND"]
    invalid(spored, "Logs", "Read", {"function": "fine", "wait_ms": 60001}, "wait_ms")
