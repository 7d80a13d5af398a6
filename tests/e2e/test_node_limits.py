"""Limits and faults with JavaScript: each is enforced, told, and harms nobody else."""
import daemon
import pytest
import ttrpc

MIB = 1 << 20

FAULTS = r'''
const fs = require('fs'), childProcess = require('child_process');
const { Worker } = require('worker_threads');
const faults = {
  answers: async (event) => 'x'.repeat(event.bytes),
  loops: () => { for (;;); },
  recurses: () => { const f = () => f() + 1; return f(); },
  sleeps: async () => new Promise((resolve) => setTimeout(resolve, 60000)),
  heap: async () => { const all = []; for (;;) all.push(new Array(1e5).fill(all.length)); },
  buffers: async () => { const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1)); },
  garbage: async (event) => {  // much of it, little of it alive
    let alive = [];
    for (let i = 0; i < event.rounds; ++i) {
      alive.push({ i, text: 'text ' + i, list: [i, i + 1, i + 2] });
      if (alive.length > 20000) alive = alive.slice(19000);
    }
    return alive.length > 0;
  },
  child: async () => childProcess.spawnSync(process.execPath, ['-e', 'const a=[];for(;;)a.push(new Array(1e5).fill(1))']).signal,
  processes: async (event) => {
    const all = []; let error = null;
    for (let i = 0; i < event.most && !error; ++i) {
      const child = childProcess.spawn('sleep', ['30']);
      await new Promise((resolve) => child.on('spawn', resolve).on('error', (e) => { error = e.code; resolve(); }));
      all.push(child);
    }
    return [all.length, error];
  },
  workers: async (event) => {
    let made = 0;
    try {
      for (; made < event.most; ++made) {
        const one = new Worker('setTimeout(() => {}, 30000)', { eval: true });
        await new Promise((resolve, reject) => one.on('online', resolve).on('error', reject));
      }
    } catch (error) { return [made, String(error.code ?? error.message)]; }
    return [made, null];
  },
  files: async () => {
    const all = [];
    try { for (;;) all.push(fs.openSync('/etc/hosts')); } catch (error) { return [all.length, error.code]; }
  },
  fills: async () => {
    const found = {};
    for (const place of ['/tmp/x', '/dev/shm/x']) {
      try { for (let i = 0; ; ++i) { fs.appendFileSync(place, Buffer.alloc(1 << 16)); found[place] = i; } }
      catch (error) { found[place] = [found[place], error.code]; }
    }
    return found;
  },
  floods: async (event) => { const line = 'x'.repeat(999) + '\n'; for (let i = 0; i < event.bytes / 1000; ++i) fs.writeSync(1, line); return 'done'; },
  console: async (event) => { for (let i = 0; i < event.lines; ++i) console.log('line', i); return 'done'; },
  closes: async () => { for (let fd = 0; fd < 64; ++fd) { try { fs.closeSync(fd); } catch {} } return 'closed'; },
  rubbish: async (event) => { fs.writeSync(3, Buffer.from(event.bytes, 'base64')); return 'wrote'; },
  aborts: async () => process.abort(),
  segfaults: async () => process.kill(process.pid, 'SIGSEGV'),
  exits: async (event) => { process.exitCode = event.code; process.exit(); },
  tampers: async () => { JSON.stringify = () => '{'; JSON.parse = () => null; globalThis.setImmediate = () => {}; return 'tampered'; },
  stack: async () => { Error.prepareStackTrace = () => { throw new Error('no'); }; Error.stackTraceLimit = 0; throw new Error('told'); },
  long: async () => { const error = new Error('m'.repeat(3 << 20)); error.name = 'n'.repeat(1 << 20); throw error; },
  signals: async () => { for (let n = 1; n < 32; ++n) if (n !== 9 && n !== 19) { try { process.on(require('os').constants.signals[n] ?? 'SIGUSR2', () => {}); } catch {} } process.kill(0, 'SIGTERM'); return 'on'; },
};
exports.handler = (event, context, callback) => faults[event.fault](event);
'''


@pytest.fixture
def limited(spored):
    made = []

    def deploy(isolation="ISOLATION_INSTANCE", **limits):
        name = f"limited-{len(made)}"
        spored.deploy(name, {"index.js": FAULTS}, "index.handler", isolation, limits=limits, runtime="node")
        made.append(name)
        return lambda fault, **event: spored.invoke(name, {"fault": fault, **event})

    yield deploy
    for name in made:
        spored.remove_function(name)
    daemon.wait_until(lambda: not [i for i in spored.instances() if i["function"] in made], what="they are gone")


def died(response, cause, kind):
    error = response["error"]
    assert error and error["type"] == kind and error["death"]["cause"] == cause, response
    return error


@pytest.mark.parametrize("fault", ["loops", "sleeps"])
def test_deadline(limited, fault):
    call = limited(timeout_ms=2000)
    died(call(fault), "TIMEOUT", "Sandbox.Timedout")
    assert call("answers", bytes=1)["result"] == "x"


@pytest.mark.parametrize("fault", ["heap", "buffers"])
def test_memory(limited, fault):
    call = limited(memory_bytes=96 * MIB)
    error = died(call(fault), "OUT_OF_MEMORY", "Runtime.OutOfMemory")
    assert error["death"]["usage"]["memory_limit_bytes"] == 96 * MIB
    assert call("answers", bytes=1)["result"] == "x"


def test_memory_of_a_child_is_limited(limited):
    response = limited(memory_bytes=96 * MIB, timeout_ms=60000)("child")
    assert response["result"] == "SIGKILL" or response["error"]["type"] == "Runtime.OutOfMemory", response


def test_garbage_is_collected_within_the_limit(limited):
    """V8 knows the function's limit, not the host's memory."""
    call = limited(memory_bytes=96 * MIB, timeout_ms=120000)
    response = call("garbage", rounds=8_000_000)
    assert response["error"] is None and response["result"] is True, response


def test_processes(limited):
    made, error = limited(pids=24)("processes", most=60)["result"]
    assert 1 <= made <= 24 and error == "EAGAIN"


def test_workers(limited):
    call = limited(pids=24, memory_bytes=512 * MIB)
    response = call("workers", most=40)
    assert response["error"] or response["result"][0] < 24, response
    assert call("answers", bytes=1)["result"] == "x"


def test_too_few_pids_for_its_threads_is_told(spored):
    spored.deploy("narrow", {"index.js": FAULTS}, "index.handler", runtime="node", limits={"pids": 3})
    try:
        with pytest.raises(ttrpc.RpcError) as caught:
            spored.invoke("narrow", {"fault": "answers", "bytes": 1})
        assert caught.value.code == ttrpc.CODES["FAILED_PRECONDITION"]
        assert "the limit on pids is too low" in caught.value.message, caught.value
    finally:
        spored.remove_function("narrow")


def test_open_files(limited):
    opened, error = limited(open_files=64)("files")["result"]
    assert opened < 64 and error == "EMFILE"


def test_tmp_is_bounded(limited):
    found = limited(tmp_bytes=4 * MIB, memory_bytes=256 * MIB)("fills")["result"]
    assert all(one[1] == "ENOSPC" for one in found.values()), found
    assert sum((one[0] or 0) << 16 for one in found.values()) <= 9 * MIB


def test_output_flood_is_cut(spored, limited):
    call = limited(output_bytes=200_000, timeout_ms=120_000)
    assert call("floods", bytes=50_000_000)["result"] == "done"
    lines = spored.call("Logs", "Read", {"function": "limited-0"})["lines"]
    total = sum(len(line["text"]) for line in lines if line["stream"] in ("STDOUT", "STDERR"))
    assert 100_000 <= total <= 450_000
    assert call("console", lines=20000)["result"] == "done"


def test_response_too_large(limited):
    call = limited(response_bytes=1000)
    assert call("answers", bytes=998)["result"] == "x" * 998
    assert call("answers", bytes=999)["error"]["type"] == "Function.ResponseSizeTooLarge"


def test_exits_and_crashes(limited):
    call = limited()
    for code in (0, 5):
        assert died(call("exits", code=code), "EXIT", "Runtime.ExitError")["death"]["exit_code"] == code
    died(call("aborts"), "SIGNAL", "Runtime.ExitError")
    died(call("segfaults"), "SIGNAL", "Runtime.ExitError")
    assert call("answers", bytes=1)["result"] == "x"


def test_errors_beyond_reason(limited):
    call = limited()
    assert call("recurses")["error"]["type"] == "RangeError"
    error = call("long")["error"]
    assert len(error["message"]) <= 65536 and len(error["type"]) <= 1024
    assert call("stack")["error"]["message"] == "told"
    assert call("answers", bytes=1)["result"] == "x"


def test_descriptors_closed_and_channel_abused(limited):
    call = limited(timeout_ms=3000)
    assert call("closes")["error"]["type"] in ("Runtime.ExitError", "Sandbox.Timedout")
    for rubbish in ("AAAAAAAAAAAAAAAAAAAAAA==", "//////////////////////", "EgAAAP////8BAAAAAAAAAA=="):
        response = call("rubbish", bytes=rubbish)
        assert response["error"] and response["error"]["death"]["cause"] in (
            "PROTOCOL", "TIMEOUT", "EXIT", "RESPONSE_TOO_LARGE"), response
    assert call("answers", bytes=1)["result"] == "x"


def test_builtins_replaced_harm_nobody_else(limited):
    call = limited(isolation="ISOLATION_INVOCATION", timeout_ms=3000)
    assert call("tampers")["result"] == "tampered"
    assert call("answers", bytes=3)["result"] == "xxx"


def test_signals_to_all_of_its_own(limited):
    call = limited(isolation="ISOLATION_INVOCATION", timeout_ms=3000)
    response = call("signals")
    assert response["result"] == "on" or response["error"], response
    assert call("answers", bytes=1)["result"] == "x"
