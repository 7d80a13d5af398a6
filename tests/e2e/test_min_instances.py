"""Instances that are kept ready: loaded before anybody asks, fresh, bounded, and there again."""
import grp
import json
import os
import pathlib
import signal

import daemon
import java
import natives
import pytest

PYTHON = """
import os, time
served = 0
def handler(event, context):
    global served
    served += 1
    if event.get('seconds'):
        time.sleep(event['seconds'])
    return {'served': served, 'pid': os.getpid(), 'id': context.aws_request_id}
"""
NODE = "let served = 0; exports.handler = async (event, context) => (" \
       "{served: ++served, pid: process.pid, id: context.awsRequestId});"
JAVA = """
import java.util.Map;
public class App {
  private static int served;
  public static Object handle(Map<String, Object> event, spore.Context context) {
    return Map.of("served", ++served, "id", context.getAwsRequestId());
  }
}
"""


@pytest.fixture(scope="module")
def spored():
    server = daemon.Spored({"socket-group": grp.getgrgid(0).gr_name,
                            "limits-per-client": {"max-reserved": 3}})
    with server.running():
        os.chmod(server.socket, 0o666)
        yield server


@pytest.fixture
def deploy(spored, tmp_path, request):
    """Deploys by the command; the function is removed, and gone, at the end."""
    deployed = []

    def deploy(runtime="python", files=None, handler="app.handler", isolation="invocation",
               minimum=2, options=()):
        name = f"kept-{len(deployed)}-{runtime}-{os.getpid()}-{abs(hash(request.node.name)) % 9999}"
        for file, content in (files or {"app.py": PYTHON}).items():
            (tmp_path / file).write_text(content)
        done = spored.cli("function", "deploy", name, tmp_path, "--runtime", runtime, "--handler",
                          handler, "--isolation", isolation, "--min-instances", minimum, *options)
        assert done.code == 0, done
        deployed.append(name)
        return name

    yield deploy
    for name in deployed:
        spored.remove_function(name)
        daemon.wait_until(lambda: not spored.instances(function=name), what="it is gone")


def kept(spored, name):
    return [i for i in spored.instances(function=name)
            if i["state"] == "IDLE" and i["invocations"] == 0]


def await_kept(spored, name, count):
    return daemon.wait_until(lambda: len(kept(spored, name)) == count and kept(spored, name),
                             what=f"{count} kept ready; the log: {spored.log_text()}")


def java_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("java") / "classes"
    return java.compile_into(folder, {"App.java": JAVA})


@pytest.mark.parametrize("runtime", ["python", "node", "native", "java"])
def test_each_invocation_has_a_fresh_one_that_had_loaded_the_function(
        spored, deploy, runtime, tmp_path_factory):
    name = f"fresh-{runtime}"
    if runtime == "java":
        spored.deploy(name, java_files(tmp_path_factory), "App::handle", "ISOLATION_INVOCATION",
                      runtime="java")
        done = spored.cli("function", "update", name, "--min-instances", 2)
        assert done.code == 0, done
    elif runtime == "native":
        spored.deploy(name, {"answers.so": natives.library("handlers.c")}, "answers.so:echo",
                      "ISOLATION_INVOCATION", runtime="native")
        done = spored.cli("function", "update", name, "--min-instances", 2)
        assert done.code == 0, done
    else:
        name = deploy(runtime, {"app.py": PYTHON} if runtime == "python" else {"app.js": NODE})
    identities = set()
    before = spored.stats()["loaded_ahead"]
    for count in range(6):
        await_kept(spored, name, 2)
        answer = spored.invoke(name, {"count": count})
        assert answer["error"] is None, answer
        assert answer["start_kind"] == "START_KIND_FORK", answer
        assert answer["start_reason"] == "an instance that had loaded this version ahead"
        if runtime != "native":
            assert answer["result"]["served"] == 1 and answer["result"]["id"] == answer["request_id"]
        identities.add(answer["instance_id"])
    assert len(identities) == 6
    assert spored.stats()["loaded_ahead"] == before + 6
    if not name.startswith("kept"):
        spored.remove_function(name)
        daemon.wait_until(lambda: not spored.instances(function=name), what="it is gone")


def test_more_at_once_than_are_kept(spored, deploy):
    name = deploy()
    await_kept(spored, name, 2)
    with spored.client() as client:
        for _ in range(8):
            client.send("Invocations", "Invoke", {"name": name, "payload": b'{"seconds": 0.3}'})
        answers = [client.answer("InvokeResponse", client.receive()[2]) for _ in range(8)]
    assert all(a["error"] is None and json.loads(a["payload"])["served"] == 1 for a in answers)
    assert len({a["instance_id"] for a in answers}) == 8
    await_kept(spored, name, 2)


def test_what_is_used_again_is_not_ended_for_idleness(spored, deploy):
    name = deploy(isolation="instance", minimum=1, options=["--idle-timeout", "200ms"])
    [first] = await_kept(spored, name, 1)
    assert spored.invoke(name, {})["start_kind"] == "START_KIND_FORK"
    answer = spored.invoke(name, {})
    assert answer["start_kind"] == "START_KIND_WARM" and answer["result"]["served"] == 2
    with spored.client() as client:  # more than one, so that there is something to end
        for _ in range(3):
            client.send("Invocations", "Invoke", {"name": name, "payload": b'{"seconds": 0.3}'})
        for _ in range(3):
            client.receive()
    daemon.wait_until(lambda: len(spored.instances(function=name)) == 1, what="one is left")
    daemon.assert_stays(lambda: len(spored.instances(function=name)) == 1, 0.7)
    assert spored.invoke(name, {})["start_kind"] == "START_KIND_WARM"
    assert first["id"]


def test_an_update_replaces_those_that_are_kept(spored, deploy, tmp_path):
    name = deploy()
    old = {i["id"] for i in await_kept(spored, name, 2)}
    (tmp_path / "app.py").write_text("def handler(e, c):\n    return 'new'\n")
    assert spored.cli("function", "update", name, tmp_path).code == 0
    assert spored.result(name, {}) == "new"
    daemon.wait_until(lambda: not old & {i["id"] for i in kept(spored, name)}, what="old ones gone")
    assert {i["function_version"] for i in await_kept(spored, name, 2)} == {2}
    assert spored.cli("function", "update", name, "--min-instances", 0).code == 0
    daemon.wait_until(lambda: not spored.instances(function=name), what="none is kept")
    assert spored.cli("function", "show", name, "--json").json()["settings"].get("min_instances") == 0


def test_one_that_ends_is_replaced(spored, deploy):
    name = deploy()
    first, second = await_kept(spored, name, 2)
    os.kill(first["pid"], signal.SIGKILL)
    daemon.wait_until(lambda: first["id"] not in {i["id"] for i in kept(spored, name)}, what="ended")
    await_kept(spored, name, 2)
    assert spored.cli("kill", second["id"]).code == 0
    daemon.wait_until(lambda: second["id"] not in {i["id"] for i in kept(spored, name)}, what="killed")
    await_kept(spored, name, 2)
    assert spored.result(name, {})["served"] == 1


@pytest.mark.parametrize("code, told", [
    ("raise ValueError('no such luck')", "ValueError: no such luck"),
    ("import os; os._exit(3)", "could not be loaded ahead"),
    ("def nothing(): pass", "Runtime.HandlerNotFound"),
    ("while True: pass", "could not be loaded ahead: Task timed out after 0.50 seconds"),
], ids=["raises", "exits", "no-handler", "hangs"])
def test_what_cannot_be_loaded_is_told_and_not_tried_for_ever(spored, deploy, code, told):
    name = deploy(files={"app.py": code}, options=["--timeout", "500ms"])
    daemon.wait_until(lambda: told in spored.cli("logs", name).out, what=f"the log says {told}")
    deaths = sum(spored.stats()["deaths"].values())
    daemon.assert_stays(lambda: sum(spored.stats()["deaths"].values()) <= deaths + 3, 1.5)
    error = spored.failure(name, {})
    assert error["type"], error


def test_those_that_are_kept_come_back_with_the_daemon(tmp_path):
    server = daemon.Spored()
    with server.running():
        (tmp_path / "app.py").write_text(PYTHON)
        assert server.cli("function", "deploy", "back", tmp_path, "--runtime", "python", "--handler",
                          "app.handler", "--isolation", "invocation", "--min-instances", 2).code == 0
        await_kept(server, "back", 2)
        server.stop(signal.SIGKILL)
        server.start()
        await_kept(server, "back", 2)
        assert server.invoke("back", {})["start_reason"].endswith("loaded this version ahead")


def test_bad_numbers(spored, tmp_path):
    (tmp_path / "app.py").write_text(PYTHON)
    command = ["function", "deploy", "bad", tmp_path, "--runtime", "python", "--handler",
               "app.handler", "--max-instances", 3, "--min-instances"]
    done = spored.cli(*command, 4)
    assert done.code == 4 and "min_instances: 4 is out of range; expected at most max_instances, 3" \
        in done.err, done
    assert spored.cli(*command, "some").code == 2
    assert spored.cli(*command, "-1").code == 2


def test_a_user_may_keep_only_so_many(spored, tmp_path):
    (tmp_path / "app.py").write_text(PYTHON)
    for path in [tmp_path, *list(tmp_path.parents)[:3]]:
        path.chmod(0o755)
    user = ["setpriv", "--reuid=48777", "--regid=48777", "--clear-groups"]

    def deploy(name, count):
        return spored.cli("function", "deploy", name, tmp_path, "--runtime", "python", "--handler",
                          "app.handler", "--min-instances", count, prefix=user)

    assert deploy("mine-a", 2).code == 0
    done = deploy("mine-b", 2)
    assert done.code == 4, done
    assert "uid 48777 would reserve 4 instances, of the 3 that it may " \
        "(limits-per-client.max-reserved)" in done.err
    assert deploy("mine-b", 1).code == 0
    assert spored.cli("function", "update", "mine-a", "--min-instances", 3, prefix=user).code == 4
    for name in ("mine-a", "mine-b"):
        assert spored.cli("function", "rm", name, prefix=user).code == 0
    daemon.wait_until(lambda: not spored.instances(), what="all are gone")


def test_a_reserved_one_that_waits_is_as_confined_as_one_that_serves(spored, deploy):
    name = deploy(minimum=1)
    [waiting] = await_kept(spored, name, 1)
    status = pathlib.Path(f"/proc/{waiting['pid']}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    daemon.assert_confined([{key: value.strip() for key, value in fields.items()}])
