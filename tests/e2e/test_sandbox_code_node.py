"""Pieces of JavaScript in sessions of a Node.js image: state, values, errors, interruptions, what goes on between them."""
import json

import daemon
import pytest
import sandboxes

LIMITS = {"memory_bytes": 512 << 20}


@pytest.fixture(scope="module")
def box(spored):
    with sandboxes.sandbox(spored, image="node", ttl_ms=600_000, limits=LIMITS) as made:
        yield made


def fresh(box):
    box.call("RestartCode")
    daemon.wait_until(lambda: not any(p["interpreter"] for p in box.processes()), what="the interpreter has ended")


def test_state_is_kept_between_calls(box):
    assert box.inspect()["language"] == "javascript"
    assert box.code("const a = 20; let b; class C { get n() { return a; } } function f(x) { return x * a; }")["has_value"] is False
    assert box.value("a + 1") == "21"
    assert box.value("f(2) + new C().n") == "60"
    assert box.value("_") == "60"
    assert box.value("const a = 5; a") == "5", "names may be declared again"
    assert box.code("undefined")["has_value"] is False and box.value("null") == "null"
    assert box.value("require('path').basename('/x/y')") == "'y'"
    assert box.value("globalThis.d = [process.cwd(), process.pid === Number(require('fs').readlinkSync('/proc/self'))]") \
        == "[ '/tmp', true ]"
    assert box.value("var _ = 'mine'; 1") == "1" and box.value("_") == "'mine'"


def test_values_come_as_text_and_as_json(box):
    done = box.code("({a: [1, 2.5, null, true], b: 'ü'})")
    assert done["value"] == "{ a: [ 1, 2.5, null, true ], b: 'ü' }"
    assert json.loads(done["json"]) == {"a": [1, 2.5, None, True], "b": "ü"}
    assert json.loads(box.code("{x: 1}")["json"]) == {"x": 1}, "an object, not a block"
    assert json.loads(box.code("new Date(0)")["json"]) == "1970-01-01T00:00:00.000Z"
    for code in ("new Map([[1, 2]])", "NaN", "12n", "Symbol('x')", "() => 1", "o = {}; o.o = o"):
        done = box.code(code)
        assert done["has_value"] and done["json"] == b"", code
    assert box.value("'\\ud800'").startswith("'")


def test_other_forms_of_a_value(box):
    done = box.code("({[Symbol.for('Jupyter.display')]() { return {'text/html': '<b>x</b>', 'image/png': 'iVBORw=='}; }})")
    assert done["forms"] == {"text/html": b"<b>x</b>", "image/png": b"\x89PNG"}
    assert box.code("({get [Symbol.for('Jupyter.display')]() { throw 1; }, a: 1})")["forms"] == {}


def test_await_and_import(box):
    assert box.value("const {setTimeout: pause} = require('timers/promises'); await pause(5, 'slept')") == "'slept'"
    assert box.value("const os = await import('os'); typeof os.cpus") == "'function'"
    box.write("/tmp/mine.mjs", b"export const n = 7;")
    box.write("/tmp/mine.cjs", b"exports.n = 8;")
    assert box.value("const s = 'import(1)'; /* import(2) */ const m = await import('./mine.mjs'); [m.n, s]") \
        == "[ 7, 'import(1)' ]"
    assert box.value("require('./mine.cjs').n") == "8"
    error = box.code("await import('./absent.mjs')")["error"]
    assert error["type"] == "Error" and "absent" in error["message"]
    assert box.code("await Promise.reject(new RangeError('late'))")["error"]["type"] == "RangeError"


def test_output_comes_apart_and_from_below_too(box):
    done = box.code("console.log('out'); console.error('err'); require('child_process').execFileSync('echo', ['child'], "
                    "{stdio: 'inherit'}); process.stdout.write('x'.repeat(300000)); 7")
    assert done["stdout"].startswith(b"out\nchild\n") and len(done["stdout"]) == 10 + 300_000
    assert done["stderr"] == b"err\n" and done["value"] == "7"


def test_errors_name_their_place(box):
    error = box.code("function fails() {\n  throw new TypeError('no');\n}\n\nfails();")["error"]
    assert (error["type"], error["message"]) == ("TypeError", "no")
    text = "\n".join(error["stack_trace"])
    assert ":2:9" in text and ":5:1" in text and "spore" not in text and "inspector" not in text
    assert "JSON.parse" in "\n".join(box.code("1;\nJSON.parse('{')")["error"]["stack_trace"])
    error = box.code("let = 5 +\n+ ;")["error"]
    assert error["type"] == "SyntaxError" and ":2:" in error["stack_trace"][-1]
    for code, kind in (("throw 'text'", "string"), ("null.x", "TypeError"), ("absent", "ReferenceError"),
                       ("throw {get stack() { throw 1; }}", "object"), ("throw null", "object"),
                       ("({get [Symbol.for('nodejs.util.inspect.custom')]() { throw new EvalError('r'); }})", "EvalError")):
        assert box.code(code)["error"]["type"] == kind, code
    assert box.value("'still here'") == "'still here'"


def test_long_things_are_cut_and_say_so(box):
    done = box.code("process.stdout.write('x'.repeat(3000000)); 'y'.repeat(1000000)")
    assert len(done["stdout"]) == 1 << 20 and done["stdout_dropped"] == 3_000_000 - (1 << 20)
    assert done["value_cut"] and len(done["value"]) <= 256 << 10 and done["json"] == b""
    done = box.code("function down(n) { return down(n + 1); } down(0)")
    assert done["error"]["type"] == "RangeError" and len(done["error"]["stack_trace"]) <= 256


def test_a_loop_and_a_wait_are_interrupted(spored, box):
    box.code("const kept = 1")
    looping = sandboxes.Asking(box, "RunCode", code="while (true) {}")
    assert box.out("echo beside") == "beside\n"
    daemon.wait_until(lambda: box.call("InterruptCode")["was_running"], what="the loop runs")
    assert looping.get()["error"]["type"] == "Interrupted"
    waiting = sandboxes.Asking(box, "RunCode", code="setTimeout(() => require('fs').writeFileSync('/tmp/waits', ''), 10); "
                                                    "await new Promise(() => {})")
    daemon.wait_until(lambda: b"waits" in box.names("/tmp"), what="it waits")
    assert box.call("InterruptCode")["was_running"]
    assert waiting.get()["error"]["type"] == "Interrupted"
    done = box.code("await new Promise(() => {})", timeout_ms=200)
    assert done["timed_out"] and not done["interpreter_ended"]
    assert box.value("kept") == "1" and box.call("InterruptCode")["was_running"] is False
    done = box.code("setTimeout(() => { while (true) {} }, 1); await new Promise(() => {})", timeout_ms=300)
    assert done["timed_out"] and done["interpreter_ended"], "what loops in the background ends with it all"
    assert box.code("kept")["error"]["type"] == "ReferenceError"


def test_the_event_loop_goes_on_between_pieces(box):
    box.code("let ticks = 0; const timer = setInterval(() => { ++ticks; }, 5)")
    daemon.wait_until(lambda: int(box.value("ticks")) > 3, what="it ticks")
    box.code("clearInterval(timer)")
    # A failure there is told, and ends nothing.
    box.code("setTimeout(() => { throw new Error('behind'); }, 1); setTimeout(() => Promise.reject(new Error('nobody heard')), 5)")

    def told():
        text = b"".join(line["text"] for line in box.call("ReadLogs", tail=100)["lines"])
        return b"Uncaught Error: behind" in text and b"Uncaught Error: nobody heard" in text

    daemon.wait_until(told, what="both are told")
    assert int(box.value("ticks")) > 3


def test_an_interpreter_that_ends_is_made_again(box):
    box.code("globalThis.x = 1")
    for code, words in (("process.exit(7)", "status 7"), ("process.kill(process.pid, 'SIGKILL'); await 0; while (true) {}", "SIGKILL"),
                        ("require('fs').closeSync(3); await new Promise(() => {})", "interpreter has ended"),
                        ("require('fs').writeSync(3, 'rubbish'.repeat(10)); await new Promise(() => {})", "rubbish")):
        done = box.code("console.log('said before');\n" + code)
        assert done["interpreter_ended"] and words in done["error"]["message"], done
        assert done["stdout"] == b"said before\n"
        done = box.code("x")
        assert done["error"]["type"] == "ReferenceError" and done["run"] == 1


def test_interpreters_share_nothing(box):
    draws = set()
    for _ in range(3):
        fresh(box)
        draws.add(box.value("[Math.random(), require('crypto').randomUUID(), require('crypto').randomBytes(8).toString('hex'), "
                            "require('crypto').randomInt(1 << 30)]"))
        # Timers, signals and children need descriptors of the interpreter's own.
        assert box.value("process.on('SIGUSR1', () => { globalThis.got = true; }); process.kill(process.pid, 'SIGUSR1'); "
                         "for (let i = 0; i < 1000 && !globalThis.got; ++i) await require('timers/promises').setTimeout(20); got") == "true"
        assert box.value("require('child_process').execSync('echo hi').toString()") == "'hi\\n'"
        assert box.value("await new Promise((r) => new (require('worker_threads').Worker)"
                         "('require(\"worker_threads\").parentPort.postMessage(5)', {eval: true}).on('message', r))") == "5"
        assert box.value("await require('fs').promises.readFile('/proc/self/comm', 'utf8')") == "'interpreter\\n'"
        box.code("fetch = undefined; setInterval(() => {}, 1)")
    assert len(draws) == 3


def test_every_thread_is_confined(box):
    found = json.loads(box.code(
        "const fs = require('fs'); fs.readdirSync('/proc/self/task').map((t) => Object.fromEntries("
        "fs.readFileSync(`/proc/self/task/${t}/status`, 'utf8').split('\\n').map((l) => l.split(':\\t'))"
        ".filter(([k]) => ['CapEff', 'CapBnd', 'NoNewPrivs', 'Seccomp', 'Uid'].includes(k))))")["json"])
    assert len(found) > 4
    uids = "\t".join([found[0]["Uid"].split("\t")[0]] * 4)
    assert all(t == {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2", "Uid": uids} for t in found)
    for path, reason in (("/etc/x", "E"), ("/proc/1/mem", "E")):
        assert box.code(f"fs.writeFileSync('{path}', 'x')")["error"]["message"].startswith(reason)


def test_the_command_and_the_wrong_language(spored, box):
    done = spored.cli("sandbox", "run-code", box.id, "-", input=b"console.log('hi')\n6*7\n")
    assert (done.code, done.out) == (0, "hi\n42\n")
    done = spored.cli("sandbox", "run-code", box.id, "-c", "throw new Error('no')")
    assert done.code == 1 and "Error: no" in done.err
    done = spored.cli("sandbox", "run-code", "--lang", "python", box.id, "-c", "1")
    assert done.code == 4 and "javascript" in done.err
    with sandboxes.sandbox(spored, image="node", limits=LIMITS, environment={"MINE": "a=b"}) as other:
        assert other.value("process.env.MINE") == "'a=b'"
        assert other.value("typeof kept") == "'undefined'"
