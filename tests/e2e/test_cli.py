"""The `spore` command on functions: what people type, its output, and its exit codes."""
import json

import daemon
import pytest

HELLO = daemon.ROOT / "examples/hello"


@pytest.fixture(scope="module")
def hello(spored):
    done = spored.cli("function", "deploy", "hello", "--runtime", "python", "--handler",
                      "app.handler", HELLO)
    assert done.code == 0 and "hello" in done.out, done
    return spored


def test_readme_example(hello):
    done = hello.cli("invoke", "hello", "--payload", '{"name":"ada"}')
    assert (done.code, done.err) == (0, ""), done
    assert done.json() == {"message": "hello, ada"}


def test_payload_from_file_and_standard_input(hello, tmp_path):
    path = tmp_path / "event.json"
    path.write_text('{"name": "grace"}')
    assert hello.cli("invoke", "hello", "--payload", f"@{path}").json()["message"] == "hello, grace"
    done = hello.cli("invoke", "hello", "--payload", "-", input=b'{"name": "mary"}')
    assert done.json()["message"] == "hello, mary"
    missing = hello.cli("invoke", "hello", "--payload", f"@{tmp_path}/none")
    assert missing.code == 2 and "none" in missing.err


def test_large_payload_and_result(spored):
    spored.deploy("mirror", {"app.py": "def handler(e, c):\n    return e\n"})
    text = json.dumps("z" * (5 << 20)).encode()
    done = spored.cli("invoke", "mirror", "--payload", "-", input=text)
    assert done.code == 0 and done.raw.strip() == text


def test_trace_lists_each_step(hello):
    done = hello.cli("invoke", "hello", "--payload", "{}", "--trace")
    assert done.json() == {"message": "hello, world"}
    for word in ("spored", "instance", "total", "us"):
        assert word in done.err, done


def test_json_of_invoke(hello):
    answer = hello.cli("invoke", "hello", "--json").json()
    assert answer["payload"] == {"message": "hello, world"}
    assert answer["start_kind"].startswith("START_KIND_") and answer["request_id"]


def test_function_that_fails_exits_with_1(spored):
    spored.deploy("sad", {"app.py": "def handler(e, c):\n    print('seen')\n    raise KeyError('k')\n"})
    done = spored.cli("invoke", "sad")
    assert done.code == 1 and done.out == ""
    assert "KeyError" in done.err and "app.py" in done.err
    tail = spored.cli("invoke", "sad", "--log-tail")
    assert "seen" in tail.err


def test_refusals_exit_with_4(hello):
    for arguments in (["invoke", "nobody"], ["function", "show", "nobody"], ["inspect", "ffff"],
                      ["function", "rm", "nobody"], ["kill", "ffff"], ["logs", "nobody"],
                      ["invoke", "hello", "--payload", "{"],
                      ["function", "deploy", "hello", "--runtime", "python", "--handler", "a.b", HELLO],
                      ["function", "deploy", "x", "--runtime", "python", "--handler", "a.b",
                       "--pids", "99999", HELLO]):
        done = hello.cli(*arguments)
        assert done.code == 4 or ("{" in arguments and done.code == 1), (arguments, done)
        assert done.err, arguments


def test_usage_errors_exit_with_2(hello, tmp_path):
    for arguments in ([], ["no-such"], ["invoke"], ["function"], ["function", "deploy", "x"],
                      ["invoke", "hello", "--no-such"], ["run"],
                      ["function", "deploy", "x", "--runtime", "python", "--handler", "a.b",
                       tmp_path / "absent"],
                      ["function", "deploy", "x", "--runtime", "python", "--handler", "a.b",
                       "--memory", "lots", HELLO],
                      ["function", "deploy", "x", "--runtime", "python", "--handler", "a.b",
                       "--isolation", "none", HELLO]):
        done = hello.cli(*arguments)
        assert done.code == 2 and done.err, (arguments, done)


def test_unreachable_daemon_exits_with_3(hello, tmp_path):
    import subprocess
    done = daemon.Completed(subprocess.run(
        [daemon.find_program("spore"), "--socket", str(tmp_path / "none"), "function", "ls"],
        capture_output=True, env=daemon.environment()))
    assert done.code == 3 and "none" in done.err


def test_socket_comes_from_the_environment(hello):
    import subprocess
    done = subprocess.run([daemon.find_program("spore"), "function", "ls", "-q"],
                          capture_output=True, text=True,
                          env={**daemon.environment(), "SPORE_SOCKET": str(hello.socket)})
    assert done.returncode == 0 and "hello" in done.stdout.split()


def test_function_listings(hello):
    listed = hello.cli("function", "ls")
    assert listed.code == 0 and "hello" in listed.out
    assert "hello" in [entry["name"] for entry in hello.cli("function", "ls", "--json").json()]
    shown = hello.cli("function", "show", "hello")
    assert "app.handler" in shown.out and "128 MiB" in shown.out
    assert hello.cli("function", "show", "hello", "--json").json()["settings"]["limits"]["pids"] == 64


def test_update_and_remove(spored, tmp_path):
    (tmp_path / "app.py").write_text("def handler(e, c):\n    return 1\n")
    deploy = spored.cli("function", "deploy", "brief", "--runtime", "python", "--handler",
                        "app.handler", "--env", "A=b", "--memory", "64M", "--timeout", "2s",
                        "--isolation", "invocation", tmp_path)
    assert deploy.code == 0, deploy
    assert spored.cli("invoke", "brief").out == "1\n"
    (tmp_path / "app.py").write_text("def handler(e, c):\n    return 2\n")
    updated = spored.cli("function", "update", "brief", tmp_path)
    assert updated.code == 0 and "2" in updated.out
    assert spored.cli("invoke", "brief").out == "2\n"
    assert spored.cli("function", "update", "brief", "--pids", "32").code == 0
    settings = spored.cli("function", "show", "brief", "--json").json()["settings"]
    assert settings["limits"]["pids"] == 32 and settings["limits"]["memory_bytes"] == 64 << 20
    assert settings["environment"] == {"A": "b"}
    assert spored.cli("function", "rm", "brief").code == 0
    assert spored.cli("invoke", "brief").code == 4


def test_deploy_from_zip_and_single_file(spored, tmp_path):
    archive = tmp_path / "code.zip"
    archive.write_bytes(daemon.make_zip({"app.py": "def handler(e, c):\n    return 'zip'\n"}))
    single = tmp_path / "single.py"
    single.write_text("def handler(e, c):\n    return 'file'\n")
    for name, handler, path in (("from-zip", "app.handler", archive),
                                ("from-file", "single.handler", single)):
        done = spored.cli("function", "deploy", name, "--runtime", "python", "--handler", handler, path)
        assert done.code == 0, done
    assert spored.cli("invoke", "from-zip").json() == "zip"
    assert spored.cli("invoke", "from-file").json() == "file"


def test_deploy_of_a_directory_with_a_link_leading_out(spored, tmp_path):
    (tmp_path / "app.py").write_text("def handler(e, c):\n    return 1\n")
    (tmp_path / "passwd").symlink_to("/etc/passwd")
    done = spored.cli("function", "deploy", "leaky", "--runtime", "python", "--handler",
                      "app.handler", tmp_path)
    assert done.code in (2, 4) and "passwd" in done.err, done


def test_terminal_escapes_of_tenants_are_not_passed_on(spored):
    """Only when written to a terminal are they dangerous; script(1) gives us one."""
    import subprocess
    spored.deploy("escape", {"app.py": "def handler(e, c):\n    raise ValueError('\\x1b]0;owned\\x07')\n"})
    done = subprocess.run(
        ["script", "-qec", f"{daemon.find_program('spore')} --socket {spored.socket} invoke escape",
         "/dev/null"], capture_output=True, stdin=subprocess.DEVNULL, env=daemon.environment())
    assert b"owned" in done.stdout and b"\x1b]0;" not in done.stdout


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["result", "json"])
def test_results_do_not_drive_the_terminal(spored, options):
    """DEL and C1 too: JSON itself escapes only C0."""
    import subprocess
    spored.deploy("c1" + "".join(options).replace("--", "-"), {
        "app.py": "def handler(e, c):\n    return 'owned \\x7f \\x9b5n'\n"})
    name = "c1" + "".join(options).replace("--", "-")
    command = [daemon.find_program("spore"), "--socket", str(spored.socket), *options, "invoke", name]
    done = subprocess.run(["script", "-qec", " ".join(command), "/dev/null"], capture_output=True,
                          stdin=subprocess.DEVNULL, env=daemon.environment())
    assert b"owned" in done.stdout, done
    assert b"\x7f" not in done.stdout and "\x9b".encode() not in done.stdout, done


def test_check_reports_on_the_host(hello):
    done = hello.cli("check", env={**daemon.environment(), "SPORED": daemon.find_program("spored")})
    assert done.code == 0, done
    for word in ("cgroup", "seccomp", "namespace", "answers"):
        assert word in done.out.lower(), done
    report = hello.cli("check", "--json",
                       env={**daemon.environment(), "SPORED": daemon.find_program("spored")}).json()
    assert report["daemon"]["answers"] is True and report["host"]


def test_info_and_version(hello):
    info = hello.cli("info", "--json").json()
    assert info["pid"] == hello.process.pid
    assert "python" in [image["name"] for image in info["images"]]
    assert "spored" in hello.cli("version").out
    assert hello.cli("--version").code == 0
    for command in ([], ["invoke"], ["run"], ["function", "deploy"], ["logs"]):
        done = hello.cli(*command, "--help")
        assert done.code == 0 and done.out


def test_full_standard_output_is_an_error(hello):
    import subprocess
    with open("/dev/full", "wb") as full:
        done = subprocess.run([daemon.find_program("spore"), "--socket", str(hello.socket),
                               "function", "ls"], stdout=full, stderr=subprocess.PIPE,
                              env=daemon.environment())
    assert done.returncode != 0 and b"space" in done.stderr
