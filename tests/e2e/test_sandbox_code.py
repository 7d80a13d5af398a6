"""Pieces of code in sessions: state, values, errors, interruptions, and interpreters that end."""
import json
import time

import daemon
import pytest
import sandboxes


@pytest.fixture(scope="module")
def box(spored):
    with sandboxes.sandbox(spored, ttl_ms=600_000) as made:
        yield made


def test_state_is_kept_between_calls(box):
    assert box.code("a = 20")["has_value"] is False
    assert box.value("a + 1") == "21"
    assert box.value("def f(x):\n    return x * a\nf(2)") == "40"
    assert box.value("_") == "40"
    assert box.value("import sys; __name__") == "'__main__'"
    assert box.code("a = 1; a;")["has_value"]


def test_values_come_as_text_and_as_json(box):
    done = box.code("{'a': [1, 2.5, None, True], 'b': 'ü'}")
    assert done["value"] == "{'a': [1, 2.5, None, True], 'b': 'ü'}"
    assert json.loads(done["json"]) == {"a": [1, 2.5, None, True], "b": "ü"}
    for code in ("object()", "float('nan')", "{1: object()}", "b'x'", "a = []\na.append(a)\na"):
        done = box.code(code)
        assert done["has_value"] and done["json"] == b"", code
    assert box.code("print('x')")["has_value"] is False


def test_other_forms_of_a_value(box):
    done = box.code("class Shown:\n"
                    "    def _repr_html_(self): return '<b>x</b>'\n"
                    "    def _repr_png_(self): return b'\\x89PNG'\n"
                    "    def _repr_svg_(self): raise ValueError\n"
                    "    def __repr__(self): return 'shown'\n"
                    "Shown()")
    assert done["value"] == "shown"
    assert done["forms"] == {"text/html": b"<b>x</b>", "image/png": b"\x89PNG"}


def test_output_comes_apart_and_from_below_too(box):
    done = box.code("import os, subprocess, sys\nprint('out')\nprint('err', file=sys.stderr)\n"
                    "os.write(1, b'raw\\n')\nsubprocess.run(['echo', 'child'])\n7")
    assert sorted(done["stdout"].split()) == [b"child", b"out", b"raw"]
    assert done["stderr"] == b"err\n" and done["error"] is None


def test_errors_name_their_place(box):
    done = box.code("def fails():\n    raise ValueError('no')\n\nfails()")
    error = done["error"]
    assert (error["type"], error["message"]) == ("ValueError", "no")
    text = "\n".join(error["stack_trace"])
    assert "line 4" in text and "raise ValueError('no')" in text and "spore" not in text
    assert box.code("if")["error"]["type"] == "SyntaxError"
    assert box.code("1/0")["error"]["type"] == "ZeroDivisionError"
    assert box.code("raise SystemExit(3)")["error"]["type"] == "SystemExit"
    assert box.code("class E(Exception):\n    def __str__(self): raise E\nraise E")["error"]["type"] == "E"
    assert box.code("class R:\n    def __repr__(self): raise KeyError('r')\nR()")["error"]["type"] == "KeyError"
    assert box.value("'still here'") == "'still here'"


def test_long_things_are_cut_and_say_so(box):
    done = box.code("print('x' * 3_000_000)\n'y' * 1_000_000")
    assert len(done["stdout"]) == 1 << 20 and done["stdout_dropped"] == 3_000_001 - (1 << 20)
    assert done["value_cut"] and len(done["value"]) <= 256 << 10 and done["json"] == b""
    assert box.error("RunCode", code="x" * ((1 << 20) + 1)).code == 3
    done = box.code("def f(n): return f(n + 1)\nf(0)")
    assert done["error"]["type"] == "RecursionError" and len(done["error"]["stack_trace"]) <= 256


def test_text_that_is_no_text(box):
    assert box.code("'\\ud800'")["value"] == "'\\ud800'"
    assert box.code("import os; os.write(1, b'\\xff\\xfe') and None")["stdout"] == b"\xff\xfe"


def test_a_loop_is_interrupted_and_holds_nothing_up(spored, box):
    box.code("kept = 1")
    looping = sandboxes.Asking(box, "RunCode", code="while True: pass")
    assert box.out("echo beside") == "beside\n"
    box.write("/tmp/beside", b"x")
    daemon.wait_until(lambda: box.call("InterruptCode")["was_running"], what="the loop runs")
    assert looping.get()["error"]["type"] == "KeyboardInterrupt"
    assert box.call("InterruptCode")["was_running"] is False
    assert box.value("kept") == "1"


def test_timeouts(spored, box):
    done = box.code("import time; time.sleep(60)", timeout_ms=300)
    assert done["timed_out"] and done["error"]["type"] == "KeyboardInterrupt"
    box.code("before = 1")
    done = box.code("import time\nwhile True:\n    try: time.sleep(60)\n    except KeyboardInterrupt: pass",
                    timeout_ms=300)
    assert done["timed_out"] and done["interpreter_ended"]
    assert box.code("before")["error"]["type"] == "NameError"
    assert spored.cli("sandbox", "run-code", "--timeout", "300ms", box.id, "-c",
                      "import time; time.sleep(60)").code == 124


def test_who_goes_away_interrupts_it(box):
    looping = sandboxes.Asking(box, "RunCode", code="here = 0\nwhile True: here += 1")
    daemon.wait_until(lambda: box.inspect()["idle_since_unix_ms"] == 0, what="it runs")
    time.sleep(0.2)
    looping.vanish()
    assert int(box.value("here")) >= 0


def test_they_take_turns(box):
    box.code("order = []")
    asking = [sandboxes.Asking(box, "RunCode", code=f"import time; time.sleep(0.05); order.append({i})")
              for i in range(10)]
    for each in asking:
        assert each.get()["error"] is None
    assert sorted(json.loads(box.code("order")["json"])) == list(range(10))


def test_an_interpreter_that_ends_is_made_again(box):
    box.code("x = 1")
    assert box.code("x")["run"] > 1
    for code, words in (("import os; os._exit(7)", "status 7"),
                        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
                        ("import os; os.close(3); import time; time.sleep(5)", "closed its channel"),
                        ("import os; os.write(3, b'rubbish' * 10)\nimport time; time.sleep(5)", "rubbish")):
        done = box.code("print('said before')\nimport sys; sys.stdout.flush()\n" + code)
        assert done["interpreter_ended"] and words in done["error"]["message"], done
        assert done["stdout"] == b"said before\n"
        done = box.code("x")
        assert done["error"]["type"] == "NameError" and done["run"] == 1
    box.code("x = 1")
    assert box.call("RestartCode")["was_there"]
    assert daemon.wait_until(lambda: box.code("'x' in globals()")["value"] == "False", what="it is fresh")
    draws = set()
    for _ in range(2):
        draws.add(box.value("import random, uuid; (random.random(), uuid.uuid4())"))
        box.call("RestartCode")
        daemon.wait_until(lambda: not any(p["interpreter"] for p in box.processes()), what="it has ended")
    assert len(draws) == 2


def test_it_forks_and_threads_like_any_python(box):
    assert box.value("import multiprocessing as m\n"
                     "with m.get_context('fork').Pool(2) as p: r = p.map(abs, [-1, -2])\nr") == "[1, 2]"
    assert box.value("import concurrent.futures as c\n"
                     "with c.ThreadPoolExecutor() as p: r = list(p.map(abs, [-1]))\nr") == "[1]"
    assert box.value("import os; os.getcwd()") == "'/tmp'"
    assert box.value("open('/proc/self/status').read().count('Name')") == "1"


def test_the_command_shows_it_like_an_interpreter(spored, box):
    done = spored.cli("sandbox", "run-code", box.id, "-", input=b"print('hi')\n6*7\n")
    assert (done.code, done.out) == (0, "hi\n42\n")
    done = spored.cli("sandbox", "run-code", box.id, "-c", "1/0")
    assert done.code == 1 and "ZeroDivisionError" in done.err
    done = spored.cli("sandbox", "run-code", "--json", box.id, "-c", "[1, 'a']")
    assert done.json()["json"] == [1, "a"]
    done = spored.cli("sandbox", "run-code", "--lang", "cobol", box.id, "-c", "1")
    assert done.code == 4 and "cobol" in done.err and "python" in done.err


def test_with_libraries_loaded(spored):
    with sandboxes.sandbox(spored, image="python-numpy", limits={"memory_bytes": 512 << 20}) as box:
        done = box.code("import numpy as np\nnp.arange(3) * 2")
        assert done["value"] == "array([0, 2, 4])" and json.loads(done["json"]) == [0, 2, 4]
        first = box.value("float(np.random.rand())")
        box.call("RestartCode")
        daemon.wait_until(lambda: not any(p["interpreter"] for p in box.processes()), what="it has ended")
        assert box.value("import numpy as np; float(np.random.rand())") != first


def test_threads_of_the_image_are_there(spored):
    with sandboxes.sandbox(spored, image="python-numpy-threads",
                           limits={"memory_bytes": 512 << 20, "pids": 128}) as box:
        assert box.value("import numpy as np; float((np.ones((300, 300)) @ np.ones((300, 300)))[0, 0])") == "300.0"
        assert int(box.value("len(__import__('os').listdir('/proc/self/task'))")) > 1
