"""spore run with JavaScript: streams, exit codes, ES modules, and that it is node as people know it."""
import json
import os
import signal
import subprocess

import daemon
import pytest


@pytest.fixture
def run(spored, tmp_path):
    def call(code, *args, options=(), name="script.js", **fields):
        script = tmp_path / name
        script.write_text(code)
        return spored.cli("run", *options, script, *args, **fields)
    return call


def test_streams_pass_through(run):
    done = run("const text = require('fs').readFileSync(0, 'utf8');\n"
               "process.stdout.write(text.toUpperCase()); console.error('to stderr');", input="hällo\n".encode())
    assert (done.code, done.out, done.err) == (0, "HÄLLO\n", "to stderr\n"), done


@pytest.mark.parametrize("code", ["process.stdin.pipe(process.stdout)",
                                  "require('fs').writeSync(1, '');"
                                  "process.stdin.on('data', (data) => process.stdout.write(data));"])
def test_binary_and_large_streams_are_unchanged(run, code):
    data = os.urandom(3 << 20)
    done = run(code, input=data)
    assert done.code == 0 and done.raw == data


def test_arguments_are_the_scripts(run):
    done = run("console.log(JSON.stringify(process.argv))", "--json", "-x", "", "a b", "--", "\u2603")
    assert json.loads(done.out) == ["/usr/bin/node", "/tmp/script.js", "--json", "-x", "", "a b", "--", "\u2603"]


@pytest.mark.parametrize("code, expected", [
    ("", 0), ("process.exit(7)", 7), ("process.exitCode = 9", 9), ("process.exit(255)", 255), ("null.x", 1),
    ("let x = ;", 1), ("Promise.reject(new Error('x'))", 1), ("setTimeout(() => process.exit(3), 10)", 3),
    ("process.on('exit', () => { process.exitCode = 4; })", 4), ("throw 'text'", 1)], ids=repr)
def test_exit_code_is_the_scripts(run, code, expected):
    assert run(code).code == expected


def test_a_module_that_waits_for_ever_ends_with_13(run):
    assert run("await new Promise(() => {});", name="script.mjs").code == 13


def test_uncaught_exception_is_told_as_node_does(run):
    done = run("function f() {\n  throw new RangeError('x');\n}\nf();\n")
    assert done.code == 1
    assert done.err.startswith("/tmp/script.js:2\n  throw new RangeError('x');\n  ^\n"), done
    assert "RangeError: x\n    at f (/tmp/script.js:2:9)" in done.err and "Node.js v" in done.err
    assert "spore" not in done.err, done


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT, signal.SIGUSR2, signal.SIGHUP],
                         ids=lambda number: number.name)
def test_signal_gives_128_and_its_number(run, number):
    done = run(f"process.kill(process.pid, {int(number)}); setTimeout(() => {{}}, 5000);")
    assert done.code == 128 + number, done


def test_signals_can_be_handled(run):
    done = run("process.on('SIGTERM', () => { console.log('caught'); process.exit(5); });"
               "process.on('SIGUSR2', () => process.kill(process.pid, 'SIGTERM'));"
               "setTimeout(() => {}, 20000); process.kill(process.pid, 'SIGUSR2');")
    assert (done.code, done.out) == (5, "caught\n"), done


def test_main_is_main(run):
    done = run("console.log(require.main === module, module.id, __filename, __dirname, process.stdin.isTTY === true)")
    assert done.out == "true . /tmp/script.js /tmp false\n"


def test_es_modules(run):
    done = run("import fs from 'node:fs';\nconst text = await fs.promises.readFile('/etc/hosts', 'utf8');\n"
               "console.log(text.includes('localhost'), import.meta.url);", name="script.mjs")
    assert done.out == "true file:///tmp/script.mjs\n", done


def test_environment_and_surroundings(run):
    done = run("console.log(process.env.A, process.cwd(), process.env.LD_PRELOAD, process.pid, process.execArgv.length)",
               options=["--env", "A=x=y"])
    assert done.out == "x=y /tmp undefined 2 0\n"


def test_script_from_standard_input(spored):
    done = spored.cli("run", "--runtime", "node", "-", input=b"console.log('from stdin')\n")
    assert (done.code, done.out) == (0, "from stdin\n")


def test_listeners_and_globals_are_those_of_a_fresh_node(run, tmp_path):
    code = ("console.log(JSON.stringify([process.eventNames().map(String).sort(), Object.keys(globalThis).sort(),"
            "process.listenerCount('uncaughtException'), typeof gc, Object.keys(require.cache),"
            "Object.getOwnPropertyNames(process).sort(), process._getActiveHandles().length]))")
    inside = json.loads(run(code).out)
    outside = json.loads(subprocess.run(["/usr/bin/node", tmp_path / "script.js"], capture_output=True,
                                        check=True).stdout)
    assert inside[1:4] == outside[1:4] and inside[5] == outside[5], (inside, outside)
    assert inside[4] == ["/tmp/script.js"]
    assert set(inside[0]) <= set(outside[0]) | {"newListener", "removeListener"}, (inside[0], outside[0])


def test_large_output_before_a_slow_reader(spored, tmp_path):
    script = tmp_path / "script.js"
    script.write_text("process.stdout.write('x'.repeat(2 << 20), () => process.exit(0));")
    process = subprocess.Popen([daemon.find_program("spore"), "--socket", str(spored.socket), "run", str(script)],
                               stdout=subprocess.PIPE, env=daemon.environment())
    data = process.stdout.read()
    assert process.wait(60) == 0 and len(data) == 2 << 20


def test_limits_hold_for_scripts(run):
    done = run("const all = []; for (;;) all.push(new Array(1e5).fill(all.length));", options=["--memory", "128M"])
    assert done.code == 137 and "memory" in done.err, done
    assert run("for (;;) ;", options=["--timeout", "500ms"]).code == 124
    done = run("const fs = require('fs'); fs.writeFileSync('/tmp/big', Buffer.alloc(8 << 20));", options=["--tmp", "1M"])
    assert done.code == 1 and "ENOSPC" in done.err, done
