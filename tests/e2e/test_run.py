"""spore run: standard streams, exit codes, signals, limits, and that scripts share nothing."""
import os
import signal
import subprocess

import daemon
import pytest
import ttrpc


@pytest.fixture
def run(spored, tmp_path):
    def call(code, *args, options=(), **fields):
        script = tmp_path / "script.py"
        script.write_text(code)
        return spored.cli("run", *options, script, *args, **fields)
    return call


@pytest.fixture
def start(spored, tmp_path):
    """A `spore run` that is still going on."""
    started = []

    def call(code, *options, stdout=subprocess.PIPE):
        script = tmp_path / "script.py"
        script.write_text(code)
        process = subprocess.Popen(
            [daemon.find_program("spore"), "--socket", str(spored.socket), "run", *options,
             str(script)],
            stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.PIPE,
            env=daemon.environment())
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate()


def test_streams_pass_through(run):
    done = run("import sys\n"
               "text = sys.stdin.read()\n"
               "print(text.upper(), end='')\n"
               "print('to stderr', file=sys.stderr)\n", input="hällo\n".encode())
    assert (done.code, done.out, done.err) == (0, "HÄLLO\n", "to stderr\n"), done


def test_binary_and_large_streams_are_unchanged(run):
    data = os.urandom(3 << 20)
    done = run("import sys, shutil\nshutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)\n",
               input=data)
    assert done.code == 0 and done.raw == data


def test_arguments_are_the_scripts(run):
    done = run("import sys\nprint(sys.argv[1:])\n", "--json", "-x", "", "a b", "--", "\u2603")
    assert done.out == "['--json', '-x', '', 'a b', '--', '\u2603']\n", done


@pytest.mark.parametrize("code,expected", [
    ("", 0), ("import sys; sys.exit(7)", 7), ("raise SystemExit", 0), ("import os; os._exit(255)", 255),
    ("raise SystemExit('why')", 1), ("1/0", 1), ("def (", 1), ("import sys; sys.exit(125)", 125),
], ids=repr)
def test_exit_code_is_the_scripts(run, code, expected):
    assert run(code).code == expected


def test_uncaught_exception_is_told_as_python_does(run):
    done = run("def f():\n    raise ValueError('x')\nf()\n")
    assert done.err.startswith("Traceback (most recent call last):")
    assert done.err.rstrip().endswith("ValueError: x")
    assert "host" not in done.err and "spore_script" not in done.err
    assert 'File "/tmp/script.py", line 2, in f\n    raise ValueError' in done.err, done


def test_the_script_is_a_file_that_other_interpreters_can_run(run):
    """multiprocessing starts them, and has each run the script's definitions again."""
    done = run("import multiprocessing, sys\n"
               "def square(number):\n    return number * number\n"
               "if __name__ == '__main__':\n"
               "    for method in ('spawn', 'forkserver', 'fork'):\n"
               "        with multiprocessing.get_context(method).Pool(2) as pool:\n"
               "            print(pool.map(square, range(4)))\n"
               "    print(__file__, sys.argv)\n", "argument")
    assert done.out == "[0, 1, 4, 9]\n" * 3 + "/tmp/script.py ['/tmp/script.py', 'argument']\n", done


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT,
                                    signal.SIGUSR1], ids=lambda number: number.name)
def test_signal_gives_128_and_its_number(run, number):
    done = run(f"import os\nos.kill(os.getpid(), {int(number)})\nimport time; time.sleep(5)\n")
    assert done.code == 128 + number, done
    assert number.name in done.err


def test_main_is_main(run):
    done = run("import sys\nif __name__ == '__main__':\n    print('main', sys.stdin.isatty())\n")
    assert done.out == "main False\n"


def test_environment_option(run):
    done = run("import os\nprint(os.environ['A'], os.environ['B'])\n",
               options=["--env", "A=1", "--env", "B=x=y"])
    assert done.out == "1 x=y\n"


def test_script_from_standard_input(spored):
    done = spored.cli("run", "--runtime", "python", "-", input=b"print('from stdin')\n")
    assert (done.code, done.out) == (0, "from stdin\n")


def test_output_arrives_while_the_script_runs(start):
    process = start("import time\nprint('early', flush=True)\ntime.sleep(20)\n")
    assert process.stdout.readline() == b"early\n"
    assert process.poll() is None


def test_input_arrives_while_the_script_runs(start):
    process = start("for _ in range(2):\n    print(input()[::-1], flush=True)\n")
    for word, answer in ((b"abc\n", b"cba\n"), (b"xyz\n", b"zyx\n")):
        process.stdin.write(word)
        process.stdin.flush()
        assert process.stdout.readline() == answer
    assert process.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL],
                         ids=lambda number: number.name)
def test_the_script_ends_with_its_client(spored, start, number):
    process = start("import time\nprint('on', flush=True)\ntime.sleep(100)\n")
    assert process.stdout.readline() == b"on\n"
    runs = [i for i in spored.instances() if not i["function"]]
    assert len(runs) == 1
    process.send_signal(number)
    code = process.wait(60)
    assert code == (-number if number == signal.SIGKILL else 128 + number)
    daemon.wait_until(lambda: not [i for i in spored.instances() if not i["function"]],
                      what="the run is gone")
    assert spored.death_of(runs[0]["id"])["cause"] == "KILLED"


def test_closed_output_does_not_hang(start):
    process = start("import sys\nfor _ in range(1000000):\n    print('x' * 100)\n")
    process.stdout.close()
    assert process.wait(60) != 0


def test_timeout(run):
    done = run("import time\ntime.sleep(1000)\n", options=["--timeout", "500ms"])
    assert done.code == 124 and "timed out" in done.err, done


def test_out_of_memory(run):
    done = run("x = []\nwhile True:\n    x.append(b'x' * (1 << 20))\n",
               options=["--memory", "48M"])
    assert done.code in (137, 1), done
    assert "memory" in done.err.lower()


def test_trace(run):
    done = run("print(1)", options=["--trace"])
    assert done.out == "1\n" and "total" in done.err and "spored" in done.err


def test_spores_own_failures_are_125_to_127(spored, run, tmp_path):
    assert spored.cli("run", tmp_path / "absent.py").code == 127
    assert spored.cli("run", "--runtime", "python", tmp_path).code == 126
    assert run("", options=["--runtime", "cobol"]).code == 125
    assert run("", options=["--timeout", "100000d"]).code in (2, 125)
    absent = subprocess.run([daemon.find_program("spore"), "--socket", str(tmp_path / "none"), "run",
                             __file__], capture_output=True, env=daemon.environment())
    assert absent.returncode == 125


@pytest.mark.parametrize("which", range(3), ids=["stdin", "stdout", "stderr"])
@pytest.mark.parametrize("path,flags,words", [
    ("/etc", os.O_RDONLY, "a directory"), ("/etc", os.O_PATH, "O_PATH"),
    ("/etc/passwd", os.O_PATH, "O_PATH"), ("/proc/self/ns/net", os.O_RDONLY, "no file"),
    ("/dev/ptmx", os.O_RDWR, "a device"),
], ids=["directory", "path of a directory", "path of a file", "namespace", "device"])
def test_streams_open_nothing_else_to_the_script(spored, which, path, flags, words):
    null = os.open("/dev/null", os.O_RDWR)
    streams = [null, null, null]
    streams[which] = os.open(path, flags)
    error = spored.error_of("Invocations", "Run", {
        "runtime": "python", "args": ["x.py"], "script": b"print('it ran')\n"}, streams)
    os.close(streams[which])
    os.close(null)
    assert error.code == ttrpc.CODES["INVALID_ARGUMENT"], error
    assert error.message.startswith(["stdin", "stdout", "stderr"][which] + ":"), error
    assert words in error.message, error


def test_directory_as_standard_input_is_refused(spored, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("print('it ran')\n")
    for flags, words in ((os.O_RDONLY, "a directory"), (os.O_PATH, "a directory")):
        folder = os.open("/etc", flags)
        done = subprocess.run(
            [daemon.find_program("spore"), "--socket", str(spored.socket), "run", script],
            stdin=folder, capture_output=True, env=daemon.environment())
        os.close(folder)
        assert done.returncode == 125 and done.stdout == b"", done
        assert words in done.stderr.decode(), done


def test_scripts_share_nothing(run):
    code = ("import os\nprint(sorted(os.listdir('/tmp')), sorted(os.listdir('/dev/shm')),"
            " os.getpid())\nopen('/tmp/left', 'w').write('x')\n")
    assert run(code).out == run(code).out == "['script.py'] [] 2\n"


def test_children_of_the_script_end_with_it(spored, run):
    done = run("import subprocess\n"
               "p = subprocess.Popen(['sleep', '1000'], start_new_session=True)\nprint(p.pid > 0)\n")
    assert (done.code, done.out) == (0, "True\n")
    daemon.wait_until(lambda: "sleep" not in spored.tenant_processes().values(),
                      what="the orphan is gone")


def test_programs_of_the_image_can_be_run(run):
    done = run("import subprocess\nprint(subprocess.check_output(['/bin/sh', '-c', 'echo $((6*7))']))\n")
    assert done.out == "b'42\\n'\n", done


def test_pipes_and_threads_work(run):
    done = run("import threading, queue\nq = queue.Queue()\n"
               "t = [threading.Thread(target=q.put, args=(i,)) for i in range(8)]\n"
               "[x.start() for x in t]; [x.join() for x in t]\n"
               "print(sorted(q.get() for _ in t))\n")
    assert done.out == "[0, 1, 2, 3, 4, 5, 6, 7]\n", done


def test_multiprocessing_works(run):
    done = run("import multiprocessing\ndef f(x):\n    return x * x\n"
               "if __name__ == '__main__':\n"
               "    with multiprocessing.Pool(2) as pool:\n        print(pool.map(f, range(4)))\n",
               options=["--memory", "256M"])
    assert done.out == "[0, 1, 4, 9]\n", done


def test_asyncio_works(run):
    done = run("import asyncio\nasync def f():\n    await asyncio.sleep(0.01)\n    return 5\n"
               "print(asyncio.run(f()))\n")
    assert done.out == "5\n", done


def test_script_holds_its_three_streams_and_no_more(run):
    done = run("import os\nfound = []\nfor fd in range(1024):\n    try:\n        os.fstat(fd)\n"
               "    except OSError:\n        continue\n    found.append(fd)\nprint(found)\n")
    assert done.out == "[0, 1, 2]\n", done


def test_scripts_draw_different_random_numbers(run):
    code = ("import random, uuid, secrets, tempfile\n"
            "print(random.random(), uuid.uuid4(), secrets.token_hex(), tempfile.mktemp())\n")
    drawn = [run(code).out.split() for _ in range(3)]
    for values in zip(*drawn):
        assert len(set(values)) == 3, values


def test_signals_have_their_usual_meaning(run):
    done = run("import signal\n"
               "print([signal.getsignal(n).name if hasattr(signal.getsignal(n), 'name') else 'python'"
               " for n in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGCHLD)],"
               " signal.pthread_sigmask(signal.SIG_BLOCK, []))\n")
    # CPython itself handles SIGINT and ignores SIGPIPE.
    assert done.out == "['SIG_DFL', 'python', 'SIG_IGN', 'SIG_DFL'] set()\n", done
