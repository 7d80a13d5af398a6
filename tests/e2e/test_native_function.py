"""Functions in C and C++: what they are given, what they answer, and how they fail."""
import json

import daemon
import natives
import pytest

MIB = 1 << 20


@pytest.fixture(scope="module")
def handlers(spored):
    """Calls a handler of handlers.c; each is a function of its own."""
    archive = daemon.make_zip({"libhandlers.so": natives.library("handlers.c")})
    return deployer(spored, "h", archive, "libhandlers.so")


@pytest.fixture(scope="module")
def throws(spored):
    archive = daemon.make_zip({"deep/er/libthrows.so": natives.library("throws.cc")})
    return deployer(spored, "t", archive, "deep/er/libthrows.so")


def deployer(spored, prefix, archive, file):
    deployed = set()

    def call(symbol, event=None, deploy=None, **fields):
        name = f"{prefix}-{symbol}"
        if name not in deployed:
            spored.deploy(name, archive, runtime="native", handler=f"{file}:{symbol}",
                          **(deploy or {}))
            deployed.add(name)
        return spored.invoke(name, event, **fields)

    return call


def succeeded(response):
    assert response["error"] is None, response["error"]
    return response["result"]


def failed(response, kind):
    assert response["error"] and response["error"]["type"] == kind, response
    return response["error"]["message"]


@pytest.mark.parametrize("event", [None, True, -1.5, "h\u00e4llo \u2603", [], {"a": [1, {"b": None}]}],
                         ids=repr)
def test_event_and_result_are_json(handlers, event):
    assert succeeded(handlers("echo", event)) == event


def test_context_and_environment(handlers):
    response = handlers("describe", deploy={"environment": {"OWN": "x y"}},
                        client_context=b'{"custom": {"a": [1]}}')
    found = succeeded(response)
    assert found["version"] == 1 and found["sizes"] == 1
    assert found["request"] == response["request_id"]
    assert found["name"] == "h-describe" and found["function_version"] == "$LATEST"
    assert found["arn"].endswith(":function:h-describe")
    assert found["client"] == {"custom": {"a": [1]}}
    assert found["mb"] == 128 and 0 < found["left"] <= 30000
    assert found["cwd"] == "/var/task" and found["home"] == "/tmp" and found["own"] == "x y"
    assert found["handler"] == "libhandlers.so:describe"
    assert found["pid"] == found["session"] == 2


def test_no_client_context_is_none(handlers):
    assert succeeded(handlers("describe"))["client"] is None


def test_no_result_is_null(handlers):
    assert succeeded(handlers("nothing")) is None


def test_the_last_result_counts(handlers):
    assert succeeded(handlers("last_result_counts")) == [2]


@pytest.mark.parametrize("text", [b"{nope", b"NaN", b"1 2", b'"\xff"', b'"a\x00b"', b"'a'", b"[1,]"],
                         ids=repr)
def test_result_that_is_not_json(handlers, text):
    message = failed(handlers("unquote", text.hex()), "Runtime.MarshalError")
    assert message.startswith("Unable to marshal response: parse error at line 1")


def test_deeply_nested_json_is_taken(spored, handlers):
    handlers("echo")
    deep = b"[" * 200_000 + b"]" * 200_000
    with spored.client() as client:
        response = client.call("Invocations", "Invoke", {"name": "h-echo", "payload": deep})
    assert response["payload"] == deep


def test_event_that_is_not_json(spored, handlers):
    handlers("echo")
    for payload in (b"{", b"[1", b"\xff", b"1 1"):
        with spored.client() as client:
            response = client.call("Invocations", "Invoke", {"name": "h-echo", "payload": payload})
        assert response["error"]["type"] == "Runtime.UnmarshalError", response
    assert succeeded(handlers("echo", 1)) == 1


def test_error_that_the_function_sets(handlers):
    error = handlers("sets_error")["error"]
    assert (error["type"], error["message"]) == ("NoSuchUser", 'no user "ada"\n\ufffd')


def test_error_counts_before_a_result(handlers):
    assert failed(handlers("sets_error_and_fails"), "Error") == ""


def test_nonzero_return_is_a_failure(handlers):
    assert failed(handlers("returns_seven"), "Error") == "the handler returned 7 and set no error"


def test_instance_is_reused_after_an_error(handlers):
    first, second = handlers("sets_error"), handlers("sets_error")
    assert first["instance_id"] == second["instance_id"]
    assert second["start_kind"] == "START_KIND_WARM"


def test_exceptions_are_told(throws):
    response = throws("throws", log_tail=True)
    assert failed(response, "shop::OutOfStock") == "no apples"
    assert b"about to throw\n" in response["log_tail"]
    assert "std::exception" in failed(throws("throws_a_number"), "int")
    failed(throws("throws_what_is_not_of_cxx"), "exception of another language")
    assert succeeded(throws("catches_its_own")) == "caught"
    assert failed(throws("throws"), "shop::OutOfStock")


@pytest.mark.parametrize("files,handler,kind,words", [
    ({"a.so": "handlers"}, "a.so:nosuch", "Runtime.HandlerNotFound", "'nosuch' missing on"),
    ({"a.so": "handlers"}, "a.so:not_a_function", "Runtime.HandlerNotFound", "is not a function"),
    ({"a.so": "handlers"}, "b.so:echo", "Runtime.ImportModuleError", "No such file"),
    ({"a.so": "handlers"}, "a.so/b.so:echo", "Runtime.ImportModuleError", "Not a directory"),
    ({"a.so": b"text\n"}, "a.so:echo", "Runtime.ImportModuleError", "file too short"),
    ({"a.so": b"text\n" * 99}, "a.so:echo", "Runtime.ImportModuleError", "invalid ELF header"),
    ({"a.so": "cut"}, "a.so:echo", "Runtime.ImportModuleError", "cut short: it has 3000 bytes"),
    ({"a.so": "arm"}, "a.so:echo", "Runtime.ImportModuleError", "a.so"),
    ({"a.so": "program"}, "a.so:main", "Runtime.ImportModuleError", "dynamically load"),
    ({"a.so": "needs_neighbour"}, "a.so:handle", "Runtime.ImportModuleError", "libneighbour.so"),
    ({"a.so": "throws"}, "a.so:has_a_mangled_name", "Runtime.HandlerNotFound", 'extern "C"'),
    ({"a.so": "throws_at_load"}, "a.so:handle", "std::logic_error", "not today"),
], ids=lambda value: value if isinstance(value, str) else None)
def test_function_that_does_not_load(spored, files, handler, kind, words):
    files = {name: shared_object(what) if isinstance(what, str) else what
             for name, what in files.items()}
    spored.deploy("broken", files, runtime="native", handler=handler)
    try:
        for _ in range(2):
            message = failed(spored.invoke("broken"), kind)
            assert words in message, message
    finally:
        spored.remove_function("broken")


def shared_object(what):
    handlers = natives.library("handlers.c")
    if what == "cut":
        return handlers[:3000]
    if what == "arm":
        return handlers[:18] + b"\xb7\x00" + handlers[20:]  # e_machine: AArch64
    if what == "program":
        return natives.program("asks.c").read_bytes()
    if what == "needs_neighbour":
        natives.library("neighbour.c")
        return natives.library("needs_neighbour.c", f"-L{natives.output_folder()[1]}", "-lneighbour")
    return natives.library({"handlers": "handlers.c", "throws": "throws.cc",
                            "throws_at_load": "throws_at_load.cc"}[what])


def test_libraries_beside_the_function_are_found(spored):
    spored.deploy("neighbours", {"a.so": shared_object("needs_neighbour"),
                                 "libneighbour.so": natives.library("neighbour.c")},
                  runtime="native", handler="a.so:handle")
    assert spored.result("neighbours") == 42


@pytest.mark.parametrize("handler", ["", "liba.so", "liba.handle", ":handle", "liba.so:", "liba.so:a-b",
                                     "/liba.so:handle", "../liba.so:handle", "liba.so:1a",
                                     "a//b.so:handle", "liba.so:h\u00e4ndler"])
def test_handlers_that_cannot_be_are_refused(spored, handler):
    with pytest.raises(Exception) as refused:
        spored.deploy("never", {"a": "b"}, runtime="native", handler=handler)
    assert 'expected file:symbol, as in "libhello.so:handle"' in str(refused.value)


def test_output_is_kept(spored, handlers):
    response = handlers("prints", log_tail=True)
    for line in (b"a whole line\n", b"no end\n", b"to stderr\n"):
        assert line in response["log_tail"]


def test_output_before_a_timeout_is_kept(spored, handlers):
    response = handlers("prints_and_hangs", deploy={"limits": {"timeout_ms": 500}}, log_tail=True)
    assert response["error"]["type"] == "Sandbox.Timedout"
    assert b"before the end\n" in response["log_tail"]


def test_state_lives_as_long_as_the_instance(handlers):
    assert [succeeded(handlers("counts")) for _ in range(3)] == [1, 2, 3]


def test_isolation_by_invocation_starts_afresh(spored):
    spored.deploy("fresh", {"a.so": natives.library("handlers.c")}, runtime="native",
                  handler="a.so:counts", isolation="ISOLATION_INVOCATION")
    responses = [spored.invoke("fresh") for _ in range(3)]
    assert [r["result"] for r in responses] == [1, 1, 1]
    assert {r["start_kind"] for r in responses} == {"START_KIND_FORK"}


def test_handler_may_have_threads(handlers):
    assert succeeded(handlers("has_threads")) == 8000


def test_siblings_draw_different_numbers(spored):
    spored.deploy("dice", {"a.so": natives.library("handlers.c")}, runtime="native",
                  handler="a.so:draws", isolation="ISOLATION_INVOCATION")
    drawn = [spored.result("dice") for _ in range(8)]
    for values in zip(*drawn):
        assert len(set(values)) == len(values), values


def test_response_limit(handlers):
    limits = {"limits": {"response_bytes": 2 * MIB}}
    assert len(succeeded(handlers("answers_at_length", 1 * MIB, deploy=limits))) == 1 * MIB - 2
    error = handlers("answers_at_length", 2 * MIB + 1)["error"]
    assert error["type"] == "Function.ResponseSizeTooLarge"


def test_trace_names_the_steps(spored):
    spored.deploy("traced", {"a.so": natives.library("handlers.c")}, runtime="native",
                  handler="a.so:nothing", isolation="ISOLATION_INVOCATION")
    response = spored.invoke("traced", trace=True)
    names = [step["name"] for step in response["trace"]["steps"]]
    for name in ("mounts", "capabilities", "seccomp", "load", "handler"):
        assert name in names, names


def test_command_line_deploys_a_single_file(spored):
    library = natives.compile_as("libhandlers.so", "handlers.c", "-shared", "-fPIC")
    done = spored.cli("function", "deploy", "single", "--runtime", "native", "--handler",
                      "libhandlers.so:echo", library)
    assert done.code == 0, done
    done = spored.cli("invoke", "single", "--payload", '{"a": 1}')
    assert (done.code, json.loads(done.out)) == (0, {"a": 1}), done


def test_the_example_counts(spored):
    library = natives.compile_as("libwordcount.so", "wordcount.c", "-shared", "-fPIC",
                                 f"-I{daemon.ROOT}/include", sources=daemon.ROOT / "examples/native")
    spored.deploy("wordcount", {"a.so": library.read_bytes()}, runtime="native", handler="a.so:handle")
    assert spored.result("wordcount", "one two\nthree") == {"lines": 1, "words": 3, "bytes": 13}
    assert spored.failure("wordcount", 1)["type"] == "BadEvent"
