"""Invocations: events and results, the context, errors, start kinds, large payloads."""
import concurrent.futures
import json
import os

import daemon
import pytest
import ttrpc

APP = '''
import json, os, sys, time

count = 0

def echo(event, context):
    return event

def counted(event, context):
    global count
    count += 1
    return {"count": count, "pid": os.getpid(), "uid": os.getuid()}

def describe(event, context):
    names = ["function_name", "function_version", "invoked_function_arn", "memory_limit_in_mb",
             "aws_request_id", "log_group_name", "log_stream_name", "identity", "client_context"]
    described = {name: repr(getattr(context, name)) for name in names}
    described["remaining"] = context.get_remaining_time_in_millis()
    time.sleep(0.05)
    described["later"] = context.get_remaining_time_in_millis()
    described["custom"] = getattr(context.client_context, "custom", None)
    context.log("through the context")
    return described

def environment(event, context):
    return dict(os.environ)

def surroundings(event, context):
    return {"cwd": os.getcwd(), "path": sys.path, "argv": sys.argv, "name": __name__,
            "file": __file__, "executable": sys.executable, "stdin": sys.stdin.read(),
            "modules": sorted(m for m in sys.modules if "spore" in m)}

class Broken(ValueError):
    pass

def fail(event, context):
    raise Broken("broken: " + event["why"])

def speak(event, context):
    print("to stdout")
    print("to stderr", file=sys.stderr)
    os.write(1, b"raw\\n")

def slow(event, context):
    time.sleep(event)
    return os.getpid()
'''


@pytest.fixture(scope="module")
def app(spored):
    for handler in ("echo", "counted", "describe", "environment", "surroundings", "fail", "speak",
                    "slow"):
        spored.deploy(handler, {"app.py": APP}, handler=f"app.{handler}",
                      environment={"GREETING": "hällo", "EMPTY": ""})
    return spored


@pytest.mark.parametrize("event", [
    None, True, 0, -1.5, "", "text \u2603 \U0001f40d", [], {}, {"a": [1, {"b": None}]},
    [[[[[]]]]], {"": ""}, 2**53, "\u0000",
], ids=repr)
def test_events_come_back_as_they_were(app, event):
    assert app.result("echo", event) == event


def test_an_empty_payload_is_null(app):
    with app.client() as client:
        response = client.call("Invocations", "Invoke", {"name": "echo"})
    assert json.loads(response["payload"]) is None


def test_response_describes_the_invocation(app):
    response = app.invoke("echo", 1)
    assert response["start_kind"] in ("START_KIND_FORK", "START_KIND_WARM")
    assert len(response["request_id"]) == 36
    assert response["function_version"] == 1
    assert len(response["instance_id"]) == 12
    assert response["duration_us"] > 0
    assert response["start_reason"]


def test_instance_is_reused(app):
    first = app.invoke("counted")
    second = app.invoke("counted")
    assert first["start_kind"] == "START_KIND_FORK"
    assert second["start_kind"] == "START_KIND_WARM"
    assert (first["result"]["count"], second["result"]["count"]) == (1, 2)
    assert first["instance_id"] == second["instance_id"]
    assert first["request_id"] != second["request_id"]


def test_isolation_by_invocation_starts_afresh_each_time(spored):
    spored.deploy("fresh", {"app.py": APP}, "app.counted", "ISOLATION_INVOCATION")
    answers = [spored.invoke("fresh") for _ in range(5)]
    assert {answer["start_kind"] for answer in answers} == {"START_KIND_FORK"}
    assert {answer["result"]["count"] for answer in answers} == {1}
    assert len({answer["instance_id"] for answer in answers}) == 5


def test_concurrent_invocations_get_sandboxes_of_their_own(app):
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: app.invoke("slow", 2), range(6)))
    assert len({answer["instance_id"] for answer in answers}) == 6


def test_context_has_lambda_names(app):
    described = app.result("describe", {}, client_context=b'{"custom": {"k": "v"}}')
    assert described["function_name"] == "'describe'"
    assert described["function_version"] == "'$LATEST'"
    assert described["memory_limit_in_mb"] == "'128'"
    assert len(described["aws_request_id"]) == 38
    assert "describe" in described["invoked_function_arn"]
    assert "describe" in described["log_group_name"]
    assert 0 < described["later"] < described["remaining"] <= 30000
    assert described["custom"] == {"k": "v"}


def test_environment_is_what_was_deployed(app):
    found = app.result("environment")
    assert found["GREETING"] == "hällo" and found["EMPTY"] == ""
    leaked = [name for name in found if name.startswith(("SPORE_", "SUDO_", "SSH_", "DBUS_"))]
    assert not leaked


def test_surroundings_are_those_of_a_function(app):
    found = app.result("surroundings")
    assert found["cwd"] == "/var/task"
    assert "/var/task" in found["path"]
    assert found["name"] == "app" and found["file"] == "/var/task/app.py"
    assert found["executable"] == "/usr/bin/python3"
    assert found["stdin"] == ""


def test_exception_gives_type_message_and_stack(app):
    error = app.failure("fail", {"why": "\u2603"})
    assert error["type"] == "Broken"
    assert error["message"] == "broken: \u2603"
    stack = "\n".join(error["stack_trace"])
    assert "in fail" in stack and "app.py" in stack and "raise Broken" in stack
    assert "host.py" not in stack
    assert error["death"] is None


def test_fresh_starts_after_the_first_are_like_the_first(spored):
    """The first compiles the code, the others are given what it has compiled."""
    source = ("import inspect, sys\n"
              "def handler(event, context):\n"
              "    spec = sys.modules[__name__].__spec__\n"
              "    return [sorted(globals()), __file__, __cached__, __package__, __name__,\n"
              "            repr(__loader__).split(' at ')[0], spec.origin, spec.cached,\n"
              "            spec.has_location, spec.parent, inspect.getsource(handler),\n"
              "            handler.__code__.co_filename]\n")
    spored.deploy("alike", {"app.py": source}, isolation="ISOLATION_INVOCATION")
    answers = [spored.result("alike") for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    by_the_book = ("import importlib.util\n"
                   "spec = importlib.util.spec_from_file_location('app', '/var/task/real.py')\n"
                   "module = importlib.util.module_from_spec(spec)\n"
                   "def handler(event, context):\n"
                   "    spec.loader.exec_module(module)\n"
                   "    import sys\n"
                   "    sys.modules['app'] = module\n"
                   "    return module.handler(event, context)\n")
    spored.deploy("by-the-book", {"app.py": by_the_book, "real.py": source},
                  isolation="ISOLATION_INVOCATION")
    book = spored.result("by-the-book")
    assert [str(part).replace("real", "app") for part in book] == [
        str(part) for part in answers[0]]


def test_an_update_brings_its_own_code(spored):
    files = {"app.py": "def handler(event, context):\n    return 1\n"}
    function = spored.deploy("renewed", files, isolation="ISOLATION_INVOCATION")
    assert [spored.result("renewed") for _ in range(2)] == [1, 1]
    archive = ttrpc.sealed_memfd(daemon.make_zip({"app.py": files["app.py"].replace("1", "2")}))
    spored.call("Functions", "Update", {
        "name": "renewed", "settings": function["settings"], "archive_attached": True}, [archive])
    os.close(archive)
    assert [spored.result("renewed") for _ in range(2)] == [2, 2]


def test_an_exception_leaves_the_instance_usable(app):
    first = app.invoke("fail", {"why": "x"})
    second = app.invoke("fail", {"why": "x"})
    assert second["start_kind"] == "START_KIND_WARM"
    assert first["instance_id"] == second["instance_id"]


def test_trace_has_the_steps_of_every_process(app):
    app.deploy("traced", {"app.py": APP}, "app.echo", "ISOLATION_INVOCATION")
    trace = app.invoke("traced", 1, trace=True)["trace"]
    assert trace["total_us"] > 0
    processes = {step["process"] for step in trace["steps"]}
    assert {"spored", "instance"} <= processes, processes
    assert all(step["name"] for step in trace["steps"])
    assert all(step["start_us"] + step["duration_us"] <= trace["total_us"] + 1000
               for step in trace["steps"] if step["start_us"] >= 0)
    assert app.invoke("traced", 1)["trace"] is None


def test_trace_says_when_code_was_loaded_and_when_it_ran(app):
    app.deploy("sleepy", {"app.py": "import time\ntime.sleep(0.2)\ndef echo(e, c):\n    time.sleep(0.1)\n"},
               "app.echo", "ISOLATION_INVOCATION")
    steps = {step["name"]: step for step in app.invoke("sleepy", 1, trace=True)["trace"]["steps"]}
    load, handler = steps["load"], steps["handler"]
    assert load["duration_us"] >= 200_000 and handler["duration_us"] >= 100_000
    assert load["start_us"] >= steps["seccomp"]["start_us"] + steps["seccomp"]["duration_us"]
    assert handler["start_us"] >= load["start_us"] + load["duration_us"]
    again = {step["name"]: step for step in app.invoke("sleepy", 1, trace=True)["trace"]["steps"]}
    assert again["load"]["duration_us"] >= 200_000, "code from the cache runs all the same"


def test_log_tail_holds_this_invocations_output(app):
    tail = app.invoke("speak", log_tail=True)["log_tail"].decode()
    for line in ("to stdout", "to stderr", "raw"):
        assert line in tail


def test_large_payload_and_response_travel_beside_the_message(app):
    event = "x" * (4 << 20)
    payload = json.dumps(event).encode()
    descriptor = ttrpc.sealed_memfd(payload)
    with app.client() as client:
        response = client.call("Invocations", "Invoke", {
            "name": "echo", "payload_attached": True, "payload_response_attached": True,
        }, [descriptor])
        os.close(descriptor)
        assert response["error"] is None
        assert response["payload_attached"]
        answer = client.received_fds[0]
        assert os.pread(answer, 8 << 20, 0) == payload


def test_payload_just_under_the_message_limit_travels_inside(app):
    event = "y" * 900_000
    assert app.result("echo", event) == event


def test_many_invocations_on_one_connection(app):
    with app.client() as client:
        for number in range(200):
            response = client.call("Invocations", "Invoke",
                                   {"name": "echo", "payload": str(number).encode()})
            assert json.loads(response["payload"]) == number


def test_concurrent_requests_on_one_connection_are_told_apart(app):
    with app.client() as client:
        sent = {client.send("Invocations", "Invoke",
                            {"name": "echo", "payload": str(i).encode()}): i for i in range(20)}
        while sent:
            stream, _, body = client.receive()
            assert json.loads(client.answer("InvokeResponse", body)["payload"]) == sent.pop(stream)


def test_idle_instances_end(spored):
    spored.deploy("idler", {"app.py": APP}, "app.echo", limits={"idle_ms": 1500})
    spored.result("idler", 1)
    assert spored.instances(function="idler")
    daemon.wait_until(lambda: not spored.instances(function="idler"), what="it has ended")
    dead = spored.instances(function="idler", include_dead=True)
    assert [spored.death_of(i["id"])["cause"] for i in dead] == ["EVICTION"]
    assert spored.result("idler", 2) == 2


def test_children_of_a_handler_are_reaped(victims):
    assert victims("orphans", count=20) == {"zombies": 0}
