"""What a copy of a many-threaded node can get wrong, and does not: docs/fork-correctness.md."""
import concurrent.futures
import json
import time

import daemon
import pytest

PROBE = r'''
const fs = require('fs'), crypto = require('crypto'), vm = require('vm'), zlib = require('zlib');
const { promisify } = require('util');
const { Worker } = require('worker_threads');
const childProcess = require('child_process');

const read = (name) => fs.readFileSync(name, 'utf8');
const worker = (code, options = {}) => new Promise((resolve, reject) => {
  const made = new Worker(code, { eval: true, ...options });
  made.on('message', resolve).on('error', reject);
});

const probes = {
  async randomness() {
    return {
      random: [Math.random(), Math.random()],
      later: Array.from({ length: 200 }, () => Math.random()).at(-1),
      context: vm.runInNewContext('Math.random()'),
      worker: await worker('require("worker_threads").parentPort.postMessage(Math.random())'),
      uuid: crypto.randomUUID(), webUuid: crypto.webcrypto.randomUUID(),
      bytes: crypto.randomBytes(16).toString('hex'),
      asyncBytes: (await promisify(crypto.randomBytes)(16)).toString('hex'),
      values: crypto.webcrypto.getRandomValues(new Uint32Array(4)).join(),
      integer: crypto.randomInt(2 ** 47), key: crypto.generateKeySync('hmac', { length: 128 }).export().toString('hex'),
      curve: crypto.generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'der' }).toString('hex'),
      temporary: fs.mkdtempSync('/tmp/x-'),
    };
  },
  async clocks() {
    const { performance, PerformanceObserver } = require('perf_hooks');
    const mark = performance.mark('here');
    return { origin: performance.timeOrigin, now: performance.now(), mark: mark.startTime, uptime: process.uptime(),
             wall: Date.now(), monotonic: Number(process.hrtime.bigint()) / 1e6, web: globalThis.performance.now(),
             json: performance.toJSON().timeOrigin };
  },
  async identity() {
    const child = childProcess.spawnSync('/bin/sh', ['-c', 'echo $PPID $LD_PRELOAD']).stdout.toString();
    return { pid: process.pid, ppid: process.ppid, self: fs.readlinkSync('/proc/self'), child: child.trim(),
             thread: require('worker_threads').threadId, title: process.title, uid: process.getuid(),
             home: require('os').homedir() };
  },
  async threads() {
    const wanted = ['Name', 'Uid', 'Gid', 'Groups', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs',
                    'Seccomp', 'Seccomp_filters', 'SigBlk', 'Cpus_allowed'];
    await fs.promises.readFile('/etc/hosts');  // the pool's are made now
    await worker('require("worker_threads").parentPort.postMessage(1)');
    return fs.readdirSync('/proc/self/task').flatMap((id) => {
      const status = {};
      let text;
      try {
        text = read(`/proc/self/task/${id}/status`);
      } catch {
        return [];  // the worker's, which has just ended
      }
      for (const line of text.split('\n')) {
        const [name, value] = line.split(/:\s*/);
        if (wanted.includes(name)) status[name] = value.trim();
      }
      return status;
    });
  },
  async pool() {
    const many = Array.from({ length: 40 }, (_, i) => i);
    const found = await Promise.all(many.map((i) => [
      fs.promises.readFile('/etc/passwd', 'utf8').then((text) => text.includes('root')),
      promisify(crypto.pbkdf2)('secret', 'salt' + i, 500, 16, 'sha256').then((key) => key.length === 16),
      promisify(zlib.gzip)(Buffer.alloc(50000, i)).then(promisify(zlib.gunzip)).then((data) => data[49999] === i),
      fs.promises.stat('/nowhere').then(() => false, (error) => error.code === 'ENOENT'),
    ]).flat());
    const dns = await require('dns').promises.lookup('localhost');
    return { all: found.every(Boolean), count: found.length, dns: dns.address };
  },
  async forbidden() {  // by threads of the pool
    const attempt = (promise) => promise.then(() => 'done', (error) => error.code);
    return {
      root: await attempt(fs.promises.writeFile('/x', 'x')), usr: await attempt(fs.promises.writeFile('/usr/x', 'x')),
      task: await attempt(fs.promises.writeFile('/var/task/x', 'x')),
      tmp: await attempt(fs.promises.writeFile('/tmp/x', 'x')),
      chown: await attempt(fs.promises.chown('/tmp/x', 0, 0)), shadow: await attempt(fs.promises.readFile('/etc/shadow')),
    };
  },
  async timers() {
    const began = performance.now();
    const order = [];
    await new Promise((resolve) => {
      setTimeout(() => { order.push('timeout 30'); resolve(); }, 30);
      setTimeout(() => order.push('timeout 5'), 5);
      setImmediate(() => order.push('immediate'));
      process.nextTick(() => order.push('tick'));
      queueMicrotask(() => order.push('microtask'));
    });
    const waited = performance.now() - began;
    let count = 0;
    await new Promise((resolve) => {
      const interval = setInterval(() => { if (++count === 5) { clearInterval(interval); resolve(); } }, 2);
    });
    await require('timers/promises').setTimeout(10);
    return { order, early: waited < 29, count };
  },
  async collection() {
    let all = [], kept = 0;
    const registry = new FinalizationRegistry(() => { kept += 1; });
    for (let i = 0; i < 3e6; ++i) {
      const object = { i, text: 'x' + i, list: [i] };
      if (i % 1e5 === 0) registry.register(object, i);
      all.push(object);
      if (all.length > 2e5) all = [];
    }
    // Callbacks come some time after a collection, if the registry itself is still held then.
    for (let i = 0; i < 100 && kept === 0; ++i) {
      all = Array.from({ length: 1e5 }, (_, n) => ({ n }));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const big = Array.from({ length: 300 }, () => new Array(1e5).fill(1.5));  // 240 MB
    registry.unregister(all);
    return { finalized: kept > 0, sum: big.reduce((sum, one) => sum + one[7], 0), buffers: Buffer.alloc(64 << 20, 7)[1 << 20] };
  },
  async compiler() {
    const hot = (n) => { let x = 0; for (let i = 0; i < n; ++i) x = (x * 31 + i) | 0; return x; };
    const expected = (() => { let x = 0; for (let i = 0; i < 1000; ++i) x = (x * 31 + i) | 0; return x; })();
    for (let i = 0; i < 200; ++i) if (hot(1000) !== expected) return 'wrong';
    hot(2e7);
    const bytes = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 7, 1, 96, 2, 127, 127, 1, 127, 3, 2, 1, 0, 7, 7, 1, 3,
                                  97, 100, 100, 0, 0, 10, 9, 1, 7, 0, 32, 0, 32, 1, 106, 11]);
    const { instance } = await WebAssembly.instantiate(bytes);
    return [hot(1000) === expected, instance.exports.add(2, 3), new RegExp('(a+)+b').test('aaab'), eval('6 * 7')];
  },
  async workers() {
    const code = `const { parentPort, workerData } = require('worker_threads');
      const fs = require('fs');
      fs.promises.readFile('/etc/hosts', 'utf8').then((text) => {
        let x = 0; for (let i = 0; i < 1e6; ++i) x += i % 7;
        Atomics.add(new Int32Array(workerData), 0, 1);
        parentPort.postMessage([text.length > 0, x]);
      });`;
    const shared = new SharedArrayBuffer(4);
    const found = await Promise.all([1, 2, 3].map(() => worker(code, { workerData: shared })));
    return { found, count: new Int32Array(shared)[0] };
  },
  async children() {
    const done = (child) => new Promise((resolve, reject) => {
      let out = '';
      child.stdout.on('data', (data) => { out += data; });
      child.on('error', reject).on('close', (code, signal) => resolve([out, code, signal]));
    });
    const sleep = childProcess.spawn('sleep', ['100']);
    const killed = done(sleep);
    setTimeout(() => sleep.kill(), 20);
    const cat = childProcess.spawn('cat');
    const copied = done(cat);
    cat.stdin.end('through a pipe');
    fs.writeFileSync('/tmp/child.js', 'process.on("message", (m) => { process.send(m * 2); process.disconnect(); })');
    const forked = childProcess.fork('/tmp/child.js');
    forked.send(21);
    const answer = await new Promise((resolve) => forked.on('message', resolve));
    return [await killed, await copied, await done(childProcess.spawn('sh', ['-c', 'exit 3'])),
            childProcess.execFileSync(process.execPath, ['-p', '6 * 7']).toString(), answer];
  },
  async descriptors() {
    const found = {};
    for (const name of fs.readdirSync('/proc/self/fd')) {
      try { found[name] = fs.readlinkSync('/proc/self/fd/' + name); } catch {}
    }
    return found;
  },
  async sockets() {
    const http = require('http');
    const server = http.createServer((request, response) => request.pipe(response));
    await new Promise((resolve) => server.listen('/tmp/socket', resolve));
    const text = await new Promise((resolve, reject) => {
      const request = http.request({ socketPath: '/tmp/socket', method: 'POST' }, (response) => {
        let all = ''; response.setEncoding('utf8');
        response.on('data', (data) => { all += data; }).on('end', () => resolve(all));
      });
      request.on('error', reject).end('x'.repeat(100000));
    });
    server.close();
    return text.length;
  },
  async signals() {
    const seen = [];
    process.on('SIGUSR2', () => seen.push('SIGUSR2'));
    process.on('SIGCHLD', () => seen.push('SIGCHLD'));
    process.kill(process.pid, 'SIGUSR2');
    childProcess.spawnSync('true');
    for (let i = 0; i < 1000 && !seen.includes('SIGUSR2'); ++i) await new Promise((resolve) => setTimeout(resolve, 30));
    return [seen.includes('SIGUSR2'), childProcess.spawnSync('sh', ['-c', 'kill -9 $$']).signal];
  },
  async stress() {
    const all = [];
    for (let i = 0; i < 10; ++i) all.push(probes.pool(), probes.timers(), probes.workers());
    const found = await Promise.all(all);
    return found.length;
  },
};
exports.handler = async (event) => probes[event]();
'''
LIMITS = {"memory_bytes": 1 << 30, "timeout_ms": 60000, "pids": 128}


@pytest.fixture(scope="module")
def probe(spored):
    spored.deploy("probe", {"index.js": PROBE}, "index.handler", "ISOLATION_INVOCATION", runtime="node", limits=LIMITS)
    return lambda name: spored.result("probe", name)


def flat(value):
    if isinstance(value, dict):
        return [leaf for one in value.values() for leaf in flat(one)]
    return [leaf for one in value for leaf in flat(one)] if isinstance(value, list) else [value]


def test_siblings_have_nothing_random_in_common(probe):
    found = [probe("randomness") for _ in range(12)]
    for name in found[0]:
        values = [leaf for one in found for leaf in flat(one[name])]
        assert len(set(values)) == len(values), (name, values)


def test_clocks_begin_with_the_tenant(probe):
    probe("clocks")
    time.sleep(1)  # so that the waiting child, and the zygote, are older than what is allowed below
    before = time.time() * 1000
    found = probe("clocks")
    after = time.time() * 1000
    room = after - before + 1
    assert before - 1 <= found["origin"] <= after, found
    assert found["origin"] == found["json"]
    for name in ("now", "mark", "web"):
        assert 0 <= found[name] <= room, (name, found)
    assert 0 <= found["uptime"] * 1000 <= room and before <= found["wall"] <= after
    assert abs(found["origin"] + found["now"] - found["wall"]) < 1000
    assert abs(found["monotonic"] - time.clock_gettime(time.CLOCK_MONOTONIC) * 1000) < 60000


def test_identity(probe):
    found = probe("identity")
    assert (found["pid"], found["self"], found["child"]) == (2, "2", "2"), found
    assert found["thread"] == 0 and found["uid"] >= 1000


def test_every_thread_is_there_and_confined(probe, spored):
    threads = probe("threads")
    assert len(threads) >= 10, threads  # main, four of V8 and its timer, the inspector's, four of the pool
    daemon.assert_confined(threads)
    assert len({thread["Cpus_allowed"] for thread in threads}) == 1, threads


def test_threads_of_the_pool_are_refused_the_same(probe):
    found = probe("forbidden")
    assert found.pop("tmp") == "done"
    assert set(found.values()) <= {"EROFS", "EACCES", "EPERM", "ENOENT"}, found


def test_thread_pool(probe):
    assert probe("pool") == {"all": True, "count": 160, "dns": "127.0.0.1"}


def test_timers(probe):
    found = probe("timers")
    assert found["order"] == ["tick", "microtask"] + found["order"][2:], found
    assert found["order"].index("timeout 5") < found["order"].index("timeout 30")
    assert "immediate" in found["order"]
    assert found["early"] is False and found["count"] == 5


def test_garbage_collection_under_load(probe):
    assert probe("collection") == {"finalized": True, "sum": 450, "buffers": 7}


def test_compilers(probe):
    assert probe("compiler") == [True, 5, True, 42]


def test_worker_threads(probe):
    found = probe("workers")
    assert found["count"] == 3 and found["found"] == [[True, 2999997]] * 3, found


def test_child_processes(probe):
    assert probe("children") == [["", None, "SIGTERM"], ["through a pipe", 0, None], ["", 3, None], "42\n", 42]


def test_sockets(probe):
    assert probe("sockets") == 100000


def test_signals(probe):
    assert probe("signals") == [True, "SIGKILL"]


def test_everything_at_once(probe):
    assert probe("stress") == 30


def test_no_descriptor_is_shared_with_a_sibling(spored):
    """The kernel's ids of pipes and sockets: what two processes both hold is one object."""
    code = ("const fs = require('fs'); exports.handler = async () => { await new Promise((r) => setTimeout(r, 1500));"
            "return fs.readdirSync('/proc/self/fd').map((n) => { try { return fs.readlinkSync('/proc/self/fd/' + n); }"
            "catch { return ''; } }); };")
    spored.deploy("held", {"index.js": code}, "index.handler", "ISOLATION_INVOCATION", runtime="node")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first, second = [one.result() for one in [pool.submit(spored.result, "held") for _ in range(2)]]
    named = [{name for name in one if name.startswith(("pipe:", "socket:"))} for one in (first, second)]
    assert named[0] and not named[0] & named[1], (first, second)


def test_events_of_one_child_do_not_wake_another(spored):
    """Both wait on epoll sets and eventfds that came from one zygote."""
    code = ("exports.handler = async (event) => { const fs = require('fs'); let done = 0;"
            "for (let i = 0; i < 300; ++i) { await fs.promises.readFile('/etc/hosts'); done += 1;"
            "await new Promise((r) => setImmediate(r)); } return done; };")
    spored.deploy("waker", {"index.js": code}, "index.handler", "ISOLATION_INVOCATION", runtime="node")
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert [one.result() for one in [pool.submit(spored.result, "waker") for _ in range(12)]] == [300] * 12


def test_many_forks_in_a_row(spored):
    spored.deploy("quick", {"index.js": "exports.handler = async (event) => event;"}, "index.handler",
                  "ISOLATION_INVOCATION", runtime="node")
    with spored.client() as client:
        for number in range(300):
            response = client.call("Invocations", "Invoke", {"name": "quick", "payload": json.dumps(number).encode()})
            assert json.loads(response["payload"]) == number
    image = [one for one in spored.call("System", "Info")["images"] if one["name"] == "node"][0]
    status = dict(line.split(":\t", 1) for line in open(f"/proc/{image['zygote_pid']}/status").read().splitlines()
                  if ":\t" in line)
    assert image["forks"] >= 300 and int(status["Threads"]) < 16
