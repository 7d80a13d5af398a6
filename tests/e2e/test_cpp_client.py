"""The C++ client library as others use it: installed, found by pkg-config alone, against a real daemon."""
import os
import re
import subprocess

import daemon
import pytest

HERE = daemon.ROOT / "tests/e2e/cpp_client"
APP = """
import os
def echo(event, context):
    if event == "say":
        print("WHO=" + os.environ["WHO"])
    return event
def fails(event, context):
    raise ValueError("no " + event)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An environment that finds the library below a folder, where `meson install` has put it."""
    root = tmp_path_factory.mktemp("installed")
    subprocess.run(["meson", "install", "-C", daemon.BUILD, "--no-rebuild", "--quiet", "--destdir", root,
                    "--tags", "devel,runtime"], check=True, stdout=subprocess.DEVNULL)
    (described,) = root.rglob("spore-client.pc")
    return {"PATH": "/usr/bin:/bin", "PKG_CONFIG_PATH": str(described.parent),
            "PKG_CONFIG_SYSROOT_DIR": str(root), "LD_LIBRARY_PATH": str(described.parents[1]),
            "ROOT": str(root)}


def flags(installed, *which):
    done = subprocess.run(["pkg-config", *which, "spore-client"], env=installed, check=True,
                          capture_output=True, text=True)
    return done.stdout.split()


def compile_program(installed, source, output, *options):
    done = subprocess.run(["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-O1", "-pthread", *options,
                           "-o", output, source, *flags(installed, "--cflags", "--libs")],
                          env=installed, cwd=output.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def run(spored, installed, program, *args):
    return subprocess.run([program, *args], env={**installed, "SPORE_SOCKET": str(spored.socket)},
                          capture_output=True, text=True, timeout=300)


@pytest.fixture
def code(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code/app.py").write_text(APP)
    return tmp_path / "code"


def test_everything_that_it_offers(spored, installed, tmp_path, code):
    compile_program(installed, HERE / "probe.cc", tmp_path / "probe")
    done = run(spored, installed, tmp_path / "probe", code)
    assert (done.returncode, done.stdout) == (0, "probe ok\n"), done
    daemon.wait_until(lambda: not spored.instances(), what="the instances of what it removed are gone")


def test_the_example(spored, installed, tmp_path):
    compile_program(installed, daemon.ROOT / "examples/clients/agent.cc", tmp_path / "agent", "-std=c++20")
    done = run(spored, installed, tmp_path / "agent", daemon.ROOT / "examples/hello")
    assert done.returncode == 0, done
    assert '"hello, ada"' in done.stdout and "sum 6\n" in done.stdout, done
    assert "as expected: ZeroDivisionError: division by zero\nnumbers.txt\n" in done.stdout, done


def test_a_daemon_that_is_not_there_is_told(installed, tmp_path):
    compile_program(installed, daemon.ROOT / "examples/clients/agent.cc", tmp_path / "agent")
    done = subprocess.run([tmp_path / "agent", "x"], env={**installed, "SPORE_SOCKET": "/nowhere.sock"},
                          capture_output=True, text=True)
    assert done.returncode == 3 and "cannot reach spored at /nowhere.sock" in done.stderr, done


def test_a_program_survives_a_restart_of_the_daemon(installed, tmp_path):
    """Connections that were kept are found to be stale; the next call makes another."""
    (tmp_path / "again.cc").write_text("""
#include <spore/client.h>
#include <cstdio>
int main() {
  const auto client = spore::Client::Open();
  if (!client) return 3;
  for (char line[8]; std::fgets(line, sizeof line, stdin) != nullptr;) {
    const auto info = client->GetInfo();
    std::printf("%d %d\\n", info ? info->pid : 0, info ? -1 : static_cast<int>(info.error().kind));
    std::fflush(stdout);
  }
}
""")
    compile_program(installed, tmp_path / "again.cc", tmp_path / "again")
    server = daemon.Spored()
    try:
        server.start()
        with subprocess.Popen([tmp_path / "again"], env={**installed, "SPORE_SOCKET": str(server.socket)},
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
            def ask():
                program.stdin.write("\n")
                program.stdin.flush()
                return program.stdout.readline().split()
            assert ask() == [str(server.process.pid), "-1"]
            server.stop()
            assert ask() == ["0", "0"]  # kConnectionFailed
            server.start()
            assert ask() == [str(server.process.pid), "-1"]
            program.stdin.close()
            assert program.wait(60) == 0
        server.check_end()
    finally:
        server.stop(9)
        server.remove()


def test_flags_name_no_other_package(installed):
    """Neither what the library is made of nor C++20 is asked of those who use it."""
    assert [f for f in flags(installed, "--libs") if f.startswith("-l")] == ["-lspore-client"]
    assert flags(installed, "--print-requires") == flags(installed, "--print-requires-private") == []


def test_only_the_interface_can_be_seen(installed):
    library = os.path.join(installed["LD_LIBRARY_PATH"], "libspore-client.so.0")
    symbols = subprocess.run(["nm", "--dynamic", "--defined-only", "--demangle", library], check=True,
                             capture_output=True, text=True).stdout
    names = [line.split(" ", 2)[2] for line in symbols.splitlines() if " T " in line]
    assert any(name.startswith("spore::client_0::Client::Open(") for name in names)
    foreign = [name for name in names
               if not re.match(r"spore::client_0::(?:Client|Sandbox|Process)::", name)]
    assert not foreign
