"""What shells complete of spore's command line: asked of the command, and from the shells."""
import os
import subprocess

import daemon
import pytest

COMPLETIONS = daemon.ROOT / "config/completions"


@pytest.fixture(scope="module", autouse=True)
def functions(spored):
    for name in ("alpha", "alpine"):
        spored.deploy(name, {"app.py": "def handler(e, c): return 1\n"})
    yield
    for name in ("alpha", "alpine"):
        spored.remove_function(name)


@pytest.fixture(scope="module")
def complete(spored):
    env = {**daemon.environment(), "SPORE_SOCKET": str(spored.socket)}

    def ask(*words):
        done = subprocess.run([daemon.find_program("spore"), "__complete", *words], env=env,
                              capture_output=True, text=True, check=True)
        lines = done.stdout.splitlines()
        return dict(line.split("\t") for line in lines[:-1]), lines[-1] == ":files"

    return ask


def test_commands(complete):
    words, files = complete("")
    assert {"function", "invoke", "run", "ps"} <= set(words) and not files
    assert words["run"].startswith("Run a script")
    assert set(complete("function", "sh")[0]) == {"show"}


def test_options_and_their_values(complete):
    assert {"--memory", "--memory-swap"} & set(complete("run", "--mem")[0]) == {"--memory"}
    assert {"python", "node"} <= set(complete("function", "deploy", "--runtime", "")[0])
    assert set(complete("function", "deploy", "x", "--isolation", "inv")[0]) == {"invocation"}
    assert set(complete("sandbox", "create", "--network", "")[0]) == {"none", "egress:"}
    assert "python-numpy" in complete("run", "--image", "python-n")[0]


def test_names(complete):
    assert set(complete("invoke", "al")[0]) == {"alpha", "alpine"}
    assert set(complete("function", "show", "--json", "alpi")[0]) == {"alpine"}
    assert "python" in complete("zygote", "warm", "py")[0]
    assert complete("kill", "zzz") == ({}, False)


def test_files(complete):
    assert complete("run", "") == ({}, True)
    assert complete("function", "deploy", "name", "")[1]


def test_without_a_daemon_there_are_no_names():
    done = subprocess.run([daemon.find_program("spore"), "__complete", "invoke", ""],
                          env={**daemon.environment(), "SPORE_SOCKET": "/nowhere"}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ":words\n")


def test_bash(spored):
    program = f"""
PATH={os.path.dirname(daemon.find_program("spore"))}:$PATH
source {COMPLETIONS}/spore.bash
COMP_WORDS=(spore invoke al) COMP_CWORD=2
_spore
echo "${{COMPREPLY[*]}}"
"""
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True,
                          env={**daemon.environment(), "SPORE_SOCKET": str(spored.socket)})
    assert (done.stdout.split(), done.stderr) == (["alpha", "alpine"], "")


@pytest.mark.parametrize("shell, name", [("zsh", "_spore"), ("fish", "spore.fish")])
def test_other_shells_can_read_theirs(shell, name):
    subprocess.run([shell, "-n", COMPLETIONS / name], check=True)
