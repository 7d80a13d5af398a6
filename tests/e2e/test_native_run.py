"""spore run with programs: what they are given, how they end, and what cannot be run."""
import os
import re
import signal
import subprocess

import daemon
import natives
import pytest
import ttrpc

MIB = 1 << 20


@pytest.fixture
def run(spored):
    def call(program, *args, options=(), **fields):
        return spored.cli("run", *options, "--", program, *args, **fields)
    return call


@pytest.fixture
def file(tmp_path):
    """An executable file with a content."""
    def make(content, name="file", mode=0o755):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path
    return make


@pytest.fixture(scope="module")
def acts():
    return natives.program("acts.c")


def told(done):
    """The lines of asks.c: {what: [values]}."""
    assert done.code == 0, done
    found = {}
    for line in done.out.splitlines():
        what, _, value = line.partition(" ")
        found.setdefault(what, []).append(value)
    return found


@pytest.mark.parametrize("kind", [(), ("-static",), ("-static-pie",)],
                         ids=["dynamic", "static", "static pie"])
def test_what_a_program_is_given(run, kind):
    program = natives.program("asks.c", *kind)
    found = told(run(program, "--json", "", "a b", "--", "\u2603", options=["--env", "A=x=y"]))
    assert found["argument"] == [str(program), "--json", "", "a b", "--", "\u2603"]
    assert found["exe"] == [f"/var/task/{program.name}"] and found["beside"] == [program.name]
    assert found["cwd"] == ["/tmp"]
    assert found["pid"] == ["2 session 2 group 2"]
    assert sorted(entry.split("=")[0] for entry in found["environment"]) == [
        "A", "HOME", "LANG", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER"]
    assert "A=x=y" in found["environment"]
    assert found["open"] == ["0", "1", "2"]


def test_program_can_execute_itself_again(run):
    found = told(run(natives.program("asks.c"), "again"))
    assert found["exe"] == ["/var/task/asks"] * 2 and found["argument"][-1] == "once more"


def test_program_cannot_change_its_file(run, acts):
    assert run(acts, "changes itself", "/var/task/acts").code == 0


def test_file_names_are_kept(run, file):
    for name in ("a b", "\u2603", "-x", "...", "n" * 255):
        path = file('#!/bin/sh\necho "$0"\n', name)
        assert run(path).out == f"/var/task/{name}\n"


def test_streams_pass_through(run):
    data = os.urandom(3 << 20)
    done = run("cat", input=data)
    assert done.code == 0 and done.raw == data
    done = run("sh", "-c", "echo out; echo err >&2")
    assert (done.out, done.err) == ("out\n", "err\n")


@pytest.mark.parametrize("code", [0, 1, 7, 125, 126, 127, 255])
def test_exit_code_is_the_programs(run, acts, code):
    assert run(acts, "exit", code).code == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT,
                                    signal.SIGUSR1, signal.SIGPIPE], ids=lambda number: number.name)
def test_signal_gives_128_and_its_number(run, acts, number):
    done = run(acts, "kill", int(number))
    assert done.code == 128 + number and number.name in done.err, done


def test_start_is_told_as_cold(spored, run, acts):
    before = spored.stats()["starts"].get("cold", 0)
    done = run(acts, "exit", 0, options=["--trace"])
    assert done.err.startswith("cold start (") and "program is executed" in done.err
    assert spored.stats()["starts"]["cold"] == before + 1
    identity = re.search(r"; instance (\w+)", done.err)[1]
    inspected = spored.call("Instances", "Inspect", {"id": identity})
    assert inspected["start_kind"] == "START_KIND_COLD" and inspected["image"] == "native"


# ---- what is run ----


def test_scripts_with_an_interpreter(run, file):
    done = run(file('#!/bin/sh -e\necho "$0 $# $2"\nfalse\n', "job.sh"), "a", "b c")
    assert (done.code, done.out) == (1, "/var/task/job.sh 2 b c\n"), done
    done = run(file("#!/usr/bin/env python3\nimport sys\nprint(sys.argv, __name__)\n", "tool"), "x")
    assert done.out == "['/var/task/tool', 'x'] __main__\n", done


def test_name_without_a_slash_is_the_images(run, tmp_path):
    assert run("gzip", "-c", input=b"x").raw[:2] == b"\x1f\x8b"
    assert run("sh", "-c", "exit 5").code == 5


def test_path_below_usr_is_the_images(run):
    done = run("/usr/bin/readlink", "/proc/self/exe")
    assert done.out == "/usr/bin/readlink\n"
    assert run("/bin/sh", "-c", "ls /var/task").out == ""


def test_path_of_the_environment_is_used(run):
    done = run("readlink", "/proc/self/exe", options=["--env", "PATH=/nowhere:/usr/bin"])
    assert done.out == "/usr/bin/readlink\n"
    done = run("readlink", options=["--env", "PATH=/nowhere"])
    assert done.code == 127 and "PATH is /nowhere" in done.err


def test_file_here_is_hinted_at(spored, file):
    path = file("#!/bin/sh\n", "only-here")
    done = subprocess.run([daemon.find_program("spore"), "--socket", spored.socket, "run", "only-here"],
                          cwd=path.parent, capture_output=True, text=True, env=daemon.environment())
    assert done.returncode == 127 and "write ./only-here" in done.stderr, done


def test_runtime_native_runs_what_looks_like_a_script(run, file):
    path = file("#!/bin/sh\necho shell\n", "odd.py")
    assert run(path, options=["--runtime", "native"]).out == "shell\n"


def test_program_that_its_owner_alone_may_read(run, file, acts):
    """A sandbox's uid is neither root's nor the caller's: it is given a copy."""
    assert run(file(acts.read_bytes(), mode=0o700), "exit", 3).code == 3


def test_program_with_a_setuid_bit_gains_nothing(run, file):
    path = file(natives.program("asks.c").read_bytes(), mode=0o4755)
    assert told(run(path))["user"] == ["own "]


# ---- what cannot be run ----


def test_files_that_are_not_there_or_not_programs(run, file, tmp_path):
    cases = [
        (tmp_path / "none", 127, "No such file"),
        (file("x", "a-file") / "below", 127, "Not a directory"),
        (tmp_path, 126, "it is a directory"),
        ("/dev/null", 126, "not a regular file"),
        (file("#!/bin/sh\n", "closed", mode=0o644), 126, "not executable (chmod +x)"),
        (file("", "empty"), 126, "it is empty"),
        (file("echo hi\n", "text"), 126, "neither a program nor a script that begins with #!"),
        (file("#!/opt/none -x\n", "bad"), 126, "bad interpreter: /opt/none: not found in the image"),
        (file("#!\n", "mute"), 126, "names no interpreter"),
        (file("#!/bin/sh\r\n", "dos"), 126, "carriage return"),
        (file("#!/tmp\n", "dir"), 126, "bad interpreter: /tmp: a directory"),
        ("nosuchprogram", 127, "not found in the image"),
        ("/usr/bin/nosuchprogram", 127, "not found in the image"),
        ("/usr/bin", 126, "a directory"),
        ("/usr/share/common-licenses/GPL-3", 126, "not executable"),
    ]
    for path, code, words in cases:
        done = run(path)
        assert done.code == code and words in done.err, (path, done)
        assert str(path) in done.err, (path, done)


def test_named_pipe_does_not_hang(run, tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o700)
    done = run(tmp_path / "pipe")
    assert done.code == 126 and "not a regular file" in done.err


def patched(program, offset, value):
    data = bytearray(program.read_bytes())
    data[offset:offset + len(value)] = value
    return bytes(data)


def test_programs_of_other_machines(run, file, acts):
    loader = acts.read_bytes().index(b"/lib64/ld-linux")
    cases = [
        (patched(acts, 18, b"\xb7\x00"), "a program for AArch64, which this host is not"),
        (patched(acts, 4, b"\x01"), "a program for x32, whose system calls are not allowed here"),
        (patched(acts, 4, b"\x01")[:18] + b"\x03\x00" + acts.read_bytes()[20:],
         "a program for 32-bit x86, whose system calls are not allowed here"),
        (patched(acts, 16, b"\x01\x00"), "an object file, not a program"),
        (patched(acts, 16, b"\x04\x00"), "a core file, not a program"),
        (patched(acts, loader, b"/lib64/ld-musl-"), "its dynamic linker /lib64/ld-musl-"),
        (acts.read_bytes()[:70], "a damaged program"),
    ]
    for content, words in cases:
        done = run(file(content))
        assert done.code == 126 and words in done.err, (words, done)


def test_arguments_that_are_too_long(run, acts):
    done = run(acts, "exit", "0" * 131_071)
    assert done.code in (0, 125, 126), done


def test_standard_input_is_no_program(spored):
    for options in ([], ["--runtime", "native"]):
        done = spored.cli("run", *options, "-", input=b"#!/bin/sh\n")
        assert done.code == 2, done


# ---- limits ----


def test_limits(run, acts):
    done = run(acts, "forks", options=["--pids", "20"])
    assert done.code == 0 and done.out.endswith(" EAGAIN\n"), done
    assert 15 <= int(done.out.split()[0]) <= 19
    done = run(acts, "opens", options=["--open-files", "64"])
    assert done.out.endswith(" EMFILE\n") and 50 <= int(done.out.split()[0]) <= 61, done
    done = run(acts, "fills", options=["--tmp", "4M"])
    assert done.out.endswith(" ENOSPC\n") and 3 * MIB <= int(done.out.split()[0]) <= 4 * MIB, done


def test_memory(run, acts):
    done = run(acts, "eats", options=["--memory", "32M"])
    assert done.code == 137 and "memory" in done.err, done


def test_deadline(run, acts):
    done = run(acts, "waits", options=["--timeout", "500ms"])
    assert done.code == 124 and "killed" in done.err, done


def test_program_counts_as_memory(run, file, acts):
    """What a program holds is charged to its sandbox, and one that has no room is refused."""
    grown = file(acts.read_bytes() + bytes(24 * MIB))
    assert run(grown, "exit", 4, options=["--memory", "64M"]).code == 4
    done = run(grown, "exit", 4, options=["--memory", "16M"])
    assert done.code == 125 and "limits.memory_bytes" in done.err, done
    tight = file(acts.read_bytes() + bytes(16 * MIB - 200_000))
    done = run(tight, "exit", 4, options=["--memory", "16M"])
    assert done.code == 137 and "memory" in done.err, done


def test_program_ends_with_its_client(spored, acts):
    process = subprocess.Popen(
        [daemon.find_program("spore"), "--socket", spored.socket, "run", "--", acts, "waits"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=daemon.environment())
    assert process.stdout.readline() == b"waiting\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    process.communicate()
    daemon.wait_until(lambda: not spored.instances(), what="its instance is gone")


# ---- the protocol ----


@pytest.fixture
def request_run(spored, acts):
    """Sends a Run as it is told; returns the error that must follow."""
    def call(values, extra=()):
        values = {"runtime": "native", "args": ["acts", "exit", "0"], **values}
        with open("/dev/null", "r+b") as null:
            return spored.error_of("Invocations", "Run", values, [null.fileno()] * 3 + list(extra))
    return call


def test_requests_that_cannot_be(request_run, acts):
    program = ttrpc.sealed_memfd(acts.read_bytes())
    unsealed = ttrpc.sealed_memfd(acts.read_bytes(), seals=False)
    empty = ttrpc.sealed_memfd(b"")
    plain, folder = os.open(acts, os.O_RDONLY), os.open("/", os.O_RDONLY)
    attached = {"program_attached": True}
    try:
        cases = [
            ({**attached, "script": b"x"}, [program], "script: given"),
            ({**attached, "args": []}, [program], "args: empty"),
            ({**attached, "args": [""]}, [program], "args: empty"),
            ({**attached, "args": ["a", "b\0c"]}, [program], "args[1]: holds a NUL byte"),
            ({**attached, "runtime": "python", "script": b""}, [program], "program_attached: true"),
            (attached, [unsealed], "program: the descriptor is not a memfd sealed"),
            (attached, [empty], "program: an empty file"),
            (attached, [], ""),
        ]
        for odd in (plain, folder):
            cases.append((attached, [odd], "program: the descriptor is not a memfd sealed"))
        for values, extra, words in cases:
            error = request_run(values, extra)
            assert words in error.message, (values, error)
    finally:
        for descriptor in (program, unsealed, empty, plain, folder):
            os.close(descriptor)
