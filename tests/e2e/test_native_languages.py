"""Native functions and programs in Go and Rust, whose runtimes have threads, signals and collectors of their own."""
import json
import os
import subprocess

import daemon
import natives
import pytest

SUM = 1000 * 1001 // 2


def go(target, *options, source="counts.go"):
    """Compiled with the toolchain of Debian, whichever others the machine has."""
    environment = {"HOME": os.environ.get("HOME", "/root"), "PATH": "/usr/bin:/bin", "CGO_ENABLED": "1",
                   "CGO_CFLAGS": f"-I{daemon.ROOT}/include", "GOCACHE": str(target.parent / "go-cache"),
                   "GO111MODULE": "off"}
    subprocess.run(["/usr/bin/go", "build", "-o", target, *options, natives.SOURCES / source], check=True,
                   env=environment)
    return target


def rust(target, *options, source="counts.rs"):
    subprocess.run(["/usr/bin/rustc", "--edition", "2018", "-O", "-o", target, *options,
                    natives.SOURCES / source], check=True)
    return target


LIBRARIES = {"go": (go, "-buildmode=c-shared"), "rust": (rust, "--crate-type=cdylib")}
PROGRAMS = {"go": (go,), "rust": (rust,)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("languages")


@pytest.fixture(scope="module", params=LIBRARIES)
def function(request, spored, folder):
    compiler, *options = LIBRARIES[request.param]
    library = compiler(folder / f"lib{request.param}.so", *options)
    for name, isolation in (("kept", "ISOLATION_INSTANCE"), ("fresh", "ISOLATION_INVOCATION")):
        spored.deploy(f"{request.param}-{name}", {"libcounts.so": library.read_bytes()}, runtime="native",
                      handler="libcounts.so:handle", isolation=isolation)
    return request.param


@pytest.fixture(scope="module", params=PROGRAMS)
def program(request, folder):
    compiler, *options = PROGRAMS[request.param]
    return compiler(folder / f"counts-{request.param}", *options)


def check(found):
    assert found["sum"] == SUM
    assert found.get("collected", True) and found.get("caught", True)
    assert found.get("ticks", 3) == 3 and found.get("seen", 16) == 16


@pytest.mark.parametrize("isolation", ["kept", "fresh"])
def test_a_function(spored, function, isolation):
    found = [spored.result(f"{function}-{isolation}", 1000) for _ in range(8)]
    for one in found:
        check(one)
    assert len({one["random"] for one in found}) == 8


def test_an_error_of_its_own(spored, function):
    error = spored.failure(f"{function}-kept", "x")
    assert error["type"] == "CountError", error
    check(spored.result(f"{function}-kept", 1000))


def test_a_program(spored, program):
    done = spored.cli("run", "--", program, input=b"1000\n")
    assert done.code == 0, done
    check(json.loads(done.out))
    done = spored.cli("run", "--", program, input=b"x")
    assert done.code == 3 and "not a number" in done.err, done
