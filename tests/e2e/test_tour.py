"""README's tour, as it stands there: its commands in their order, by the programs that people have."""
import os
import re
import subprocess
import threading

import daemon
import gateway
import pytest

SPORED_CONFIG = gateway.SPORED_CONFIG
README = (daemon.ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.M | re.S)
# What runs already here, and where.
GATEWAY = "http://localhost:8080"


def section(title):
    """What stands below a heading, up to the next."""
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def commands(transcript):
    """(command, what it prints) of a transcript; "> " goes on with the line before."""
    found = []
    for line in transcript.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif line.startswith("> "):
            found[-1] = (f"{found[-1][0]}\n{line[2:]}", found[-1][1])
        else:
            found[-1] = (found[-1][0], found[-1][1] + line + "\n")
    return found


@pytest.fixture(scope="module")
def desk(spored, tmp_path_factory):
    """Runs bash lines as somebody with Spore and AWS's tools installed would, in one shell."""
    tools = tmp_path_factory.mktemp("bin")
    for name in ("spore", "spore-gateway"):
        (tools / name).symlink_to(daemon.find_program(name))
    with gateway.Gateway(spored).running() as served:
        environment = {**daemon.environment(), **served.environment(), "SPORE_SOCKET": str(spored.socket),
                       "PYTHONPATH": str(daemon.ROOT / "tools/clients/python/src"),
                       "PATH": f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin"}
        for name in list(environment):
            if name.startswith("AWS_") and name not in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
                                                        "AWS_PAGER"):
                del environment[name]
        folder = tmp_path_factory.mktemp("desk")
        shell = subprocess.Popen(["bash", "--norc", "-s"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, cwd=folder, env=environment)

        def run(command):
            end = f"--{os.urandom(8).hex()}--"
            late = threading.Timer(300, shell.kill)
            late.start()
            shell.stdin.write(f"{command.replace(GATEWAY, served.url)}\necho; echo {end} $?\n")
            shell.stdin.flush()
            printed = ""
            for line in shell.stdout:
                if line.startswith(end):
                    late.cancel()
                    return int(line.split()[1]), printed.removesuffix("\n")
                printed += line
            raise AssertionError(f"the shell ended in {command}: {printed}")

        run.folder, run.url = folder, served.url
        yield run
        shell.stdin.close()
        shell.wait(60)


def test_tour(desk):
    blocks = BLOCK.findall(section("A tour"))
    assert len(blocks) >= 4
    ran = []
    for language, text in blocks:
        if language == "python":  # a file, named in its first line
            (desk.folder / re.match(r"# (\w+\.py)\n", text)[1]).write_text(text.replace(GATEWAY, desk.url))
            continue
        for command, shown in commands(text):
            status, printed = desk(command)
            assert status == 0, f"$ {command}\n{printed}"
            assert printed.strip() == shown.strip(), f"$ {command}\n{printed}"
            ran.append(command)
    everything = "\n".join(ran)
    for client in ("aws lambda create-function", "invoke.py", "curl", "agent.py"):
        assert client in everything, client


def test_every_command_of_the_readme_is_there(spored):
    """Of all transcripts, `spore ...` names commands and options that its help knows."""
    for line in re.findall(r"^\$ (?:id=\$\()?(spore(?:-gateway)? .*)$", README, re.M):
        words = line.split(" #")[0].split()
        path = []
        for word in words[1:]:
            if not re.fullmatch(r"[a-z][a-z-]*", word):
                break
            path.append(word)
        if words[0] == "spore-gateway":
            continue
        # The first words that are commands; what comes after them is arguments.
        for count in (2, 1):
            help_of = spored.cli(*path[:count], "--help")
            if help_of.code == 0:
                break
        assert help_of.code == 0, line
        for option in re.findall(r"(?<!\S)--[a-z][a-z-]+", line.split(" -- ")[0]):
            assert option in help_of.out, (option, line)
