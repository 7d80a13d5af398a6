"""The client libraries against the real daemon: Python's, TypeScript's, and a Go program made of ttrpc."""
import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys

import daemon
import pytest

CLIENTS = daemon.ROOT / "tools/clients"
sys.path.insert(0, str(CLIENTS / "python/src"))
import spore  # noqa: E402
from spore import messages as m  # noqa: E402

APP = {"app.py": """
import time
def echo(event, context):
    return {"event": event, "context": context.client_context.custom if context.client_context else None}
def fails(event, context):
    raise ValueError("no " + event)
def sleeps(event, context):
    time.sleep(30)
def grows(event, context):
    return "y" * event
"""}


@pytest.fixture(scope="module")
def client(spored):
    with spore.Client(str(spored.socket)) as client:
        for name in ("echo", "fails", "sleeps", "grows"):
            client.deploy("py-" + name, APP, handler=f"app.{name}", memory=64 << 20)
        yield client
        for name in ("echo", "fails", "sleeps", "grows"):
            client.remove("py-" + name)


# ---- what is generated ----

def test_generated_files_are_those_of_the_protocol(tmp_path):
    subprocess.run([CLIENTS / "generate", tmp_path], check=True)
    made = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert len(made) >= 8
    old = [str(name) for name in made if (CLIENTS / name).read_bytes() != (tmp_path / name).read_bytes()]
    assert not old, f"run tools/clients/generate: {old}"


def test_python_client_is_typed():
    done = subprocess.run(["/usr/bin/mypy", "--strict", "--cache-dir=/dev/null", "src/spore"],
                          cwd=CLIENTS / "python", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_python_client_installs_with_pip(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(CLIENTS / "python", source)
    subprocess.run(["/usr/bin/python3", "-m", "pip", "install", "--quiet", "--no-index",
                    "--no-build-isolation", "--target", tmp_path / "site", source],
                   check=True, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})
    done = subprocess.run(["/usr/bin/python3", "-c", "import spore; print(spore.__file__, spore.Client)"],
                          env={"PYTHONPATH": str(tmp_path / "site")}, capture_output=True, text=True, check=True)
    assert str(tmp_path / "site") in done.stdout
    assert (tmp_path / "site/spore/py.typed").exists()


def test_wire_form_agrees_with_protobuf(tmp_path):
    """Each message of ours, filled with edge values, read and written again by the official library."""
    subprocess.run(["protoc", f"--proto_path={daemon.ROOT}/proto", f"--python_out={tmp_path}",
                    *map(str, (daemon.ROOT / "proto/spore/v1").glob("*.proto"))], check=True)
    full = m.InvokeResponse(
        payload=bytes(range(256)), error=m.FunctionError(type="é", stack_trace=["a", ""]),
        start_kind=m.StartKind.START_KIND_FORK, duration_us=(1 << 64) - 1, loaded_ahead=True,
        trace=m.Trace(steps=[m.Step(start_us=-1, duration_us=1)]))
    settings = m.FunctionSettings(environment={"": "x", "k": ""}, min_instances=0,
                                  limits=m.Limits(memory_bytes=1 << 40))
    alias = m.Alias(name="prod", second_weight=0.25)
    program = f"""
import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(CLIENTS / "python/src")!r}]
import importlib
from spore import messages as ours
for module, name, data in {[("spore", "InvokeResponse", full.to_bytes()),
                            ("spore", "FunctionSettings", settings.to_bytes()),
                            ("versions", "Alias", alias.to_bytes())]!r}:
    theirs = getattr(importlib.import_module("spore.v1." + module + "_pb2"), name)()
    theirs.ParseFromString(data)
    back = getattr(ours, name).from_bytes(theirs.SerializeToString())
    print(name, back == getattr(ours, name).from_bytes(data), len(theirs.UnknownFields()))
"""
    # Both packages are called "spore": the namespace of the generated one is added to ours.
    program = program.replace("import importlib\n",
                              f"import importlib, spore\nspore.__path__.append({str(tmp_path / 'spore')!r})\n")
    done = subprocess.run(["/usr/bin/python3", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["InvokeResponse", "True", "0", "FunctionSettings", "True", "0",
                                   "Alias", "True", "0"]


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05ab", b"\x0a", b"\x0d\x01", b"\x0b", b"\x08\x01",
                                  b"\xff" * 11, b"\x42\x03\x0a\xff\xff"])
def test_rubbish_is_an_error(data):
    with pytest.raises(spore.messages.Message.from_bytes.__globals__["WireError"]):
        m.InvokeResponse.from_bytes(data)


def test_unknown_fields_and_values_are_passed_over():
    message = m.Session.from_bytes(m.Session(id="a").to_bytes() + b"\xf8\x07\x01" + b"\x28\x63")
    assert message.id == "a" and message.state == 0x63 and message.state.name == "UNKNOWN_99"


# ---- Python ----

def test_invoke(client):
    assert client.invoke("py-echo", {"a": [1]}) == {"event": {"a": [1]}, "context": None}
    assert client.invoke("py-echo", client_context={"custom": {"k": "v"}})["context"] == {"k": "v"}
    result = client.invoke_for_result("py-echo", trace=True)
    assert result.response.trace.steps and result.response.function_version == 1


def test_payloads_that_no_message_holds(client):
    assert len(client.invoke("py-echo", "x" * 3_000_000)["event"]) == 3_000_000
    assert len(client.invoke("py-grows", 5_000_000)) == 5_000_000


def test_errors_have_types(client):
    with pytest.raises(spore.FunctionError) as failed:
        client.invoke("py-fails", "x")
    assert (failed.value.type, failed.value.message) == ("ValueError", "no x")
    assert any("fails" in line for line in failed.value.stack_trace)
    with pytest.raises(spore.NotFound, match="nobody"):
        client.invoke("nobody")
    with pytest.raises(spore.AlreadyExists):
        client.deploy("py-echo", APP, handler="app.echo")
    with pytest.raises(spore.InvalidArgument, match="memory"):
        client.deploy("small", APP, handler="app.echo", memory=1)
    with pytest.raises(ValueError, match="isolation"):
        client.deploy("odd", APP, handler="app.echo", isolation="none")
    with pytest.raises(spore.CallError) as late:
        client.invoke("py-sleeps", timeout=0.2)
    assert late.value.code == "DEADLINE_EXCEEDED"


def test_no_daemon_is_told():
    with pytest.raises(spore.ConnectionFailed, match="/nowhere.*is spored running"):
        spore.Client("/nowhere").info()


def test_update_and_list(client):
    client.deploy("py-temp", APP, handler="app.echo")
    changed = client.update("py-temp", settings=m.FunctionSettings(handler="app.grows"))
    assert (changed.version, changed.settings.handler) == (2, "app.grows")
    assert client.update("py-temp", {"app.py": "def grows(e, c):\n    return 1\n"}).version == 3
    assert client.invoke("py-temp") == 1
    assert "py-temp" in [function.name for function in client.functions()]
    client.remove("py-temp")
    with pytest.raises(spore.NotFound):
        client.function("py-temp")


def test_run(client):
    done = client.run("import sys; print(sys.argv[1:], sys.stdin.read()); sys.exit(3)", "a", stdin=b"in")
    assert (done.exit_code, done.stdout, done.stderr) == (3, b"['a'] in\n", b"")
    assert client.run("import os; os.kill(os.getpid(), 9)").exit_code == 137


def test_a_connection_that_died_is_replaced():
    with daemon.Spored().running() as first:
        client = spore.Client(str(first.socket))
        client.info()
        first.stop()
        first.start()
        assert client.info().pid == first.process.pid
        client.close()


def test_asyncio(spored, client):
    async def many():
        async with spore.AsyncClient(str(spored.socket)) as both:
            return await asyncio.gather(*[both.invoke("py-echo", number) for number in range(20)])

    assert [answer["event"] for answer in asyncio.run(many())] == list(range(20))


def test_a_cancelled_task_cancels_its_call(spored, client):
    async def cancelled():
        async with spore.AsyncClient(str(spored.socket)) as both:
            call = asyncio.ensure_future(both.invoke("py-sleeps"))
            await asyncio.sleep(0.5)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(cancelled())
    daemon.wait_until(lambda: not [i for i in spored.instances(function="py-sleeps") if i["state"] == "BUSY"],
                      what="the call is cancelled")


# ---- sandboxes ----

@pytest.fixture
def box(client):
    with spore.Sandbox.create(client=client, ttl=600, label="test", environment={"COLOR": "red"}) as box:
        yield box
    assert box.session.state == m.SessionState.DEAD


def test_sandbox_code(box):
    assert box.run_code("x = [1, 2]").value is None
    result = box.run_code("print('out'); x + [3]")
    assert (result.value, result.data, result.stdout) == ("[1, 2, 3]", [1, 2, 3], "out\n")
    with pytest.raises(spore.CodeFailed, match="ZeroDivisionError"):
        box.run_code("1 / 0")
    assert box.run_code("1 / 0", check=False).error.type == "ZeroDivisionError"
    assert box.interrupt() is False
    box.restart_code()
    with pytest.raises(spore.CodeFailed, match="NameError"):
        box.run_code("x")


def test_sandbox_programs(box):
    done = box.exec("sh -c 'cat; echo $COLOR; exit 4'", input=b"in\n")
    assert (done.exit_code, done.text) == (4, "in\nred\n")
    with pytest.raises(spore.ExecFailed, match="exit code 4: bad"):
        box.exec(["sh", "-c", "echo bad >&2; exit 4"], check=True)
    process = box.start(["sh", "-c", "echo first; sleep 60"])
    assert next(process.output()) == b"first\n"
    assert process.wait(timeout=0.1) is None
    process.kill()
    assert process.wait() == 137
    assert box.processes()


def test_sandbox_files(box):
    large = bytes(range(256)) * 8000
    box.make_directory("/tmp/a/b", parents=True)
    box.write_file("/tmp/a/b/large", large)
    assert box.read_file("/tmp/a/b/large") == large
    assert box.stat_file("/tmp/a/b/large").size == len(large)
    box.rename_file("/tmp/a/b/large", "/tmp/a/c")
    assert [file.path for file in box.list_files("/tmp/a") if file.kind == m.FileInfoKind.FILE] == [b"c"]
    box.remove_file("/tmp/a", recursive=True)
    with pytest.raises(spore.NotFound, match="No such file"):
        box.read_file("/tmp/a/c")
    box.remove_file("/tmp/a", missing_ok=True)


def test_sandbox_life(box, client):
    box.pause()
    assert box.refresh().state == m.SessionState.PAUSED
    box.resume()
    before = box.session.expires_unix_ms
    assert box.extend(6000).expires_unix_ms > before
    again = spore.Sandbox.connect(box.id[:8], client=client)
    assert again.id == box.id and again.session.label == "test"
    again.kill()
    with pytest.raises(spore.FailedPrecondition):
        box.exec("true")


def test_sandbox_branches(box):
    box.run_code("x = [1]")
    first, second = box.branch(2, label="copy", ttl=60)
    first.run_code("x.append(2)")
    assert [each.run_code("x").data for each in (first, second, box)] == [[1, 2], [1], [1]]
    assert first.session.branched_from == box.id and second.session.label == "copy"
    for each in (first, second):
        each.kill()


def test_sandbox_checkpoints(box, client):
    box.run_code("x = [1]")
    kept = box.checkpoint("py", leave_running=True)
    assert (kept.name, kept.session, kept.label) == ("py", box.id, "test") and kept.bytes > 0
    box.run_code("x.append(2)")
    with spore.Sandbox.restore("py", ttl=60, label="back", client=client) as back:
        assert back.run_code("x").data == [1] and box.run_code("x").data == [1, 2]
        assert (back.session.restored_from, back.session.label) == ("py", "back")
    on_disk = client.services.session_checkpoints
    assert [each.name for each in on_disk.list().checkpoints] == ["py"]
    with pytest.raises(spore.AlreadyExists):
        box.checkpoint("py")
    on_disk.remove(m.RemoveSessionCheckpointRequest(name="py"))
    with pytest.raises(spore.NotFound):
        spore.Sandbox.restore("py", client=client)


def test_sandbox_with_asyncio(spored):
    async def go():
        async with spore.AsyncClient(str(spored.socket)) as client:
            async with await spore.AsyncSandbox.create(client=client) as box:
                await asyncio.gather(box.write_file("/tmp/x", "1"), box.run_code("y = 2"))
                process = await box.start("cat /tmp/x")
                return [part async for part in process.output()], (await box.run_code("y")).data

    assert asyncio.run(go()) == ([b"1"], 2)


# ---- TypeScript ----

@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The npm package, compiled, packed and installed as its user does."""
    folder = tmp_path_factory.mktemp("npm")
    source = folder / "source"
    shutil.copytree(CLIENTS / "typescript", source, ignore=shutil.ignore_patterns("node_modules", "dist"))
    quiet = ["--silent", "--no-audit", "--no-fund"]
    subprocess.run(["npm", "install", *quiet], cwd=source, check=True)
    packed = subprocess.run(["npm", "pack", "--silent"], cwd=source, check=True, capture_output=True,
                            text=True).stdout.split()[-1]
    user = folder / "user"
    user.mkdir()
    (user / "package.json").write_text('{"name": "user", "private": true}')
    subprocess.run(["npm", "install", *quiet, "--offline", source / packed], cwd=user, check=True)
    return user


def node(package, socket, program):
    source = f"""
const {{ Client, Sandbox, messages: m }} = require("spore-client");
(async () => {{
  const client = new Client({{ socket: {json.dumps(str(socket))} }});
  const out = await (async () => {{ {program} }})();
  console.log(JSON.stringify(out));
}})().catch((error) => {{ console.error(error); process.exitCode = 1; }});
"""
    done = subprocess.run(["node", "-e", source], cwd=package, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_typescript_invoke(package, spored, client):
    assert node(package, spored.socket, """
        const answers = await Promise.all([1, 2, 3].map((i) => client.invoke("py-echo", i)));
        return answers.map((answer) => answer.event);""") == [1, 2, 3]


def test_typescript_errors(package, spored, client):
    told = node(package, spored.socket, """
        const of = async (promise) => { try { await promise; } catch (error) {
            return [error.name, error.code ?? error.type ?? "", error.message]; } };
        return [await of(client.invoke("py-fails", "x")), await of(client.invoke("nobody")),
                await of(client.invoke("py-sleeps", null, { timeoutMs: 200 })),
                await of(client.invoke("py-sleeps", null, { signal: AbortSignal.timeout(200) })),
                await of(new Client({ socket: "/nowhere" }).info())];""")
    assert told[0] == ["FunctionError", "ValueError", "no x"]
    assert told[1] == ["CallError", "NOT_FOUND", 'no function "nobody"']
    assert told[2][:2] == ["CallError", "DEADLINE_EXCEEDED"]
    assert told[3][0] == "TimeoutError"
    assert told[4][0] == "ConnectionFailed" and "is spored running" in told[4][2]


def test_typescript_deploys(package, spored, client, tmp_path):
    """From a folder, an archive's path, its bytes and contents; changed; what the daemon unpacks is what was sent."""
    code = "def handler(event, context):\n    return %s\n"
    folder = tmp_path / "code"
    (folder / "pkg/__pycache__").mkdir(parents=True)
    (folder / "pkg/__pycache__/old").write_text("x")
    (folder / "pkg/app.py").write_text(
        code % "[open('/var/task/' + n, 'rb').read().hex() for n in ('pkg/d\u00e4ta', 'link')]")
    (folder / "pkg/d\u00e4ta").write_bytes(bytes(range(256)) * 40)
    (folder / "pkg/run").write_text("#!/bin/sh\n")
    (folder / "pkg/run").chmod(0o755)
    (folder / "link").symlink_to("pkg/run")
    (folder / "nowhere").symlink_to("missing")
    (tmp_path / "code.zip").write_bytes(daemon.make_zip({"app.py": code % 2}))
    told = node(package, spored.socket, f"""
        const fs = require("fs");
        const folder = {json.dumps(str(folder))}, zip = {json.dumps(str(tmp_path / "code.zip"))};
        const made = await client.deploy("ts-folder", folder, {{ handler: "pkg.app.handler", memoryBytes: 64 << 20,
            cpus: 0.5, timeoutMs: 5000, pids: 32, tmpBytes: 1 << 20, minInstances: 1, maxInstances: 2,
            isolation: "invocation", environment: {{ K: "v" }} }});
        await client.deploy("ts-path", zip, {{ handler: "app.handler" }});
        await client.deploy("ts-bytes", fs.readFileSync(zip), {{ handler: "app.handler" }});
        await client.deploy("ts-content", {{ "app.py": {json.dumps(code % 4)} }}, {{ handler: "app.handler" }});
        const answers = [];
        for (const name of ["folder", "path", "bytes", "content"]) answers.push(await client.invoke("ts-" + name));
        const changed = await client.update("ts-folder", {{ "app.py": {json.dumps(code % 5)} }},
            {{ handler: "app.handler", limits: m.Limits.create({{ pids: 33 }}) }});
        answers.push(await client.invoke("ts-folder"));
        const listed = (await client.functions()).map((each) => each.name).filter((each) => each.startsWith("ts-"));
        await client.update("ts-path", undefined, {{ environment: {{ K: "w" }} }});
        for (const name of listed) await client.remove(name);
        return [made, answers, changed.version, changed.settings, listed];""")
    made, answers, version, settings, listed = told
    assert made["settings"]["limits"] | {"cpuMillis": 500, "timeoutMs": 5000, "pids": 32, "tmpBytes": 1 << 20,
                                         "maxInstances": 2} == made["settings"]["limits"]
    assert made["settings"]["isolation"] == m.Isolation.ISOLATION_INVOCATION and made["settings"]["minInstances"] == 1
    assert answers == [[(bytes(range(256)) * 40).hex(), b"#!/bin/sh\n".hex()], 2, 2, 4, 5]
    assert version == 2 and settings["environment"] == {"K": "v"} and settings["limits"]["pids"] == 33
    assert settings["limits"]["timeoutMs"] == 5000
    assert listed == ["ts-bytes", "ts-content", "ts-folder", "ts-path"]


def test_typescript_deploy_errors(package, spored, client, tmp_path):
    (tmp_path / "large").write_bytes(os.urandom((3 << 20) + 1))
    told = node(package, spored.socket, f"""
        const of = async (promise) => {{ try {{ await promise; return "done"; }} catch (error) {{
            return [error.name, error.code ?? "", error.message]; }} }};
        const code = {{ "app.py": "x" }}, handler = "app.handler";
        return [await of(client.deploy("ts-none", new Uint8Array(3 * 2 ** 20 + 1), {{ handler }})),
                await of(client.update("py-echo", {json.dumps(str(tmp_path / "large"))})),
                await of(client.deploy("ts-none", {json.dumps(str(tmp_path))}, {{ handler }})),
                await of(client.deploy("ts-none", Buffer.from("no archive"), {{ handler }})),
                await of(client.deploy("ts-none", new Uint8Array(0), {{ handler }})),
                await of(client.deploy("ts-none", {json.dumps(str(tmp_path / "missing"))})),
                await of(client.deploy("ts-none", code, {{ handler, isolation: "none" }})),
                await of(client.deploy("ts-none", code, {{ handler, memoryBytes: 1 }})),
                await of(client.deploy("py-echo", code)),
                await of(client.services.functions.deploy({{ name: "ts-none" }})),
                await of(client.invoke("ts-none"))];""")
    for large in told[:3]:
        assert large[0] == "RangeError" and "at most 3145728" in large[2] and "spore function deploy" in large[2]
    for rubbish in told[3:5]:
        assert rubbish[:2] == ["CallError", "INVALID_ARGUMENT"] and "archive" in rubbish[2]
    assert told[5][1] == "ENOENT"
    assert told[6][0] == "RangeError" and "isolation" in told[6][2]
    assert told[7][1] == "INVALID_ARGUMENT" and "memory" in told[7][2]
    assert told[8][1] == "ALREADY_EXISTS"
    assert told[9][1] == "INVALID_ARGUMENT" and "archive: neither" in told[9][2]
    assert told[10][1] == "NOT_FOUND"
    assert client.function("py-echo").version == 1


def test_typescript_wire_form(package, spored):
    assert node(package, spored.socket, """
        const full = m.InvokeResponse.create({ payload: Uint8Array.of(0, 255), durationUs: 2 ** 53 - 1,
            startKind: 2, error: m.FunctionError.create({ stackTrace: ["a", ""] }), loadedAhead: true });
        const back = m.InvokeResponse.decode(m.InvokeResponse.encode(full));
        const settings = m.FunctionSettings.create({ environment: { k: "v" }, minInstances: 0 });
        const again = m.FunctionSettings.decode(m.FunctionSettings.encode(settings));
        const alias = m.Alias.decode(m.Alias.encode({ secondWeight: 0.25 }));
        require("assert").deepStrictEqual(back, full);
        return [again.environment.k, again.minInstances, alias.secondWeight];""") == ["v", 0, 0.25]


def test_typescript_sandbox(package, spored):
    assert node(package, spored.socket, """
        const box = await Sandbox.create({ client, ttlMs: 60000 });
        try {
          await box.writeFile("/tmp/x", "text");
          const code = await box.runCode("import json; json.load(open('/tmp/y')) if 0 else 6 * 7");
          const { exitCode, text } = await box.exec(["sh", "-c", "cat x; exit 3"]);
          const process = await box.start(["sleep", "60"]);
          await process.kill();
          const [copy] = await box.branch(1, { label: "copy" });
          const copied = (await copy.runCode("json.dumps(1)")).data;
          await copy.kill();
          const kept = await box.checkpoint({ name: "ts", leaveRunning: true });
          const back = await Sandbox.restore("ts", { client, label: "back", ttlMs: 60000 });
          const label = [kept.session === box.id, back.session.restoredFrom, back.session.label].join();
          await back.kill();
          await client.services.sessionCheckpoints.remove({ name: "ts" });
          const names = (await box.listFiles()).map((file) => new TextDecoder().decode(file.path));
          return [code.data, exitCode, text, await process.wait(), names.includes("x"), label];
        } finally {
          await box.kill();
        }""") == [42, 3, "text", 137, True, "true,ts,back"]


# ---- Go: a client that nobody here wrote ----

@pytest.fixture(scope="module")
def ttrpc_client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("go")
    subprocess.run(["/usr/bin/go", "build", "-o", folder / "client", daemon.ROOT / "tests/clients/ttrpc_client.go"],
                   check=True, env={"HOME": os.environ.get("HOME", "/root"), "PATH": "/usr/bin:/bin",
                                    "GOPATH": "/usr/share/gocode", "GO111MODULE": "off",
                                    "GOCACHE": str(folder / "cache")})
    shutil.rmtree(folder / "cache")
    subprocess.run(["protoc", f"--proto_path={daemon.ROOT}/proto", "--include_imports",
                    f"--descriptor_set_out={folder}/protocol",
                    *map(str, (daemon.ROOT / "proto/spore/v1").glob("*.proto"))], check=True)
    return folder


def go_call(folder, socket, service, method, request):
    return subprocess.run([folder / "client", socket, folder / "protocol", f"spore.v1.{service}", method,
                           json.dumps(request)], capture_output=True, text=True, timeout=300)


def test_a_foreign_ttrpc_client_can_call(ttrpc_client, spored, client):
    done = go_call(ttrpc_client, spored.socket, "Invocations", "Invoke", {"name": "py-echo", "payload": "IngiCg=="})
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["startKind"].startswith("START_KIND_") and answer["payload"]
    listed = go_call(ttrpc_client, spored.socket, "Functions", "List", {})
    assert "py-echo" in [function["name"] for function in json.loads(listed.stdout)["functions"]]


def test_a_foreign_ttrpc_client_reads_errors(ttrpc_client, spored):
    done = go_call(ttrpc_client, spored.socket, "Invocations", "Invoke", {"name": "nobody"})
    assert (done.returncode, done.stdout.strip()) == (1, 'error NotFound: no function "nobody"')


def test_a_foreign_ttrpc_client_deploys(ttrpc_client, spored, client):
    archive = daemon.make_zip({"app.py": "def handler(event, context):\n    return [event]\n"})
    request = {"name": "go-made", "settings": {"runtime": "python", "handler": "app.handler"}}
    done = go_call(ttrpc_client, spored.socket, "Functions", "Deploy",
                   request | {"archive": base64.b64encode(archive).decode()})
    assert done.returncode == 0, done.stderr
    assert client.invoke("go-made", 1) == [1]
    client.remove("go-made")
    refused = go_call(ttrpc_client, spored.socket, "Functions", "Deploy", request)
    assert refused.returncode == 1 and refused.stdout.startswith("error InvalidArgument: archive:")
