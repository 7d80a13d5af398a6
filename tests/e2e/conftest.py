"""One real daemon a test module, and a look at what it left behind after each."""
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import daemon  # noqa: E402
import java  # noqa: E402

TESTS = pathlib.Path(__file__).parents[1]


def pytest_configure(config):
    assert os.geteuid() == 0, "the end-to-end tests need root: they run a real spored"


@pytest.fixture(scope="module")
def spored(request):
    """A running daemon; a module may set SPORED_CONFIG."""
    with daemon.Spored(getattr(request.module, "SPORED_CONFIG", None)).running() as server:
        yield server


@pytest.fixture(scope="session")
def victim_archive(tmp_path_factory):
    """The hostile programs: the Python ones, and the C ones compiled without sanitizers."""
    files = {path.name: path.read_bytes() for folder in ("victims", "faults")
             for path in sorted((TESTS / folder).glob("*.py"))}
    output = tmp_path_factory.mktemp("victims")
    for source in sorted((TESTS / "victims/native").glob("*.c")):
        program = output / source.stem
        subprocess.run(["gcc", "-O1", "-static", "-o", program, source], check=True)
        files[f"bin/{source.stem}"] = program.read_bytes()
    return daemon.make_zip(files)


@pytest.fixture(scope="module")
def victims(spored, victim_archive):
    """Calls a hostile program in a fresh sandbox and returns what it says of its attempts."""
    spored.deploy("victims", victim_archive, isolation="ISOLATION_INVOCATION",
                  limits={"memory_bytes": 256 << 20, "timeout_ms": 30000})

    def call(victim, **event):
        return spored.result("victims", {"victim": victim, **event})

    return call


@pytest.fixture(scope="session")
def probe_classes(tmp_path_factory):
    """Java's handlers of the tests, compiled."""
    out = tmp_path_factory.mktemp("java") / "classes"
    out.mkdir()
    return java.compile_into(out, sorted(java.SOURCES.glob("probe/*.java")))


@pytest.fixture(scope="session")
def stranger():
    """A command prefix that runs what follows as an unprivileged user without groups."""
    return ["setpriv", "--reuid=48213", "--regid=48213", "--clear-groups"]
