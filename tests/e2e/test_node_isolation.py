"""The hostile programs again, started by a function in JavaScript; and what its own threads may do."""
import io
import pathlib
import zipfile

import pytest
# Every test there takes its victims from the fixture below.
from test_isolation import *  # noqa: F403
from test_isolation import assert_proc_is_of_the_sandbox, assert_refused

VICTIMS = pathlib.Path(__file__).parents[1] / "victims"
# These ask about Python functions, not about victims.
del test_every_sandbox_has_an_identity_of_its_own  # noqa: F821
del test_neighbour_cannot_be_found_signalled_or_reached  # noqa: F821
del test_no_instance_decides_what_code_others_run  # noqa: F821

STARTER = r'''
const { spawnSync } = require('child_process');
exports.handler = async (event) => {
  const done = spawnSync('/usr/bin/python3', ['-B', '/var/task/main.py'], { input: JSON.stringify(event), maxBuffer: 1 << 24 });
  if (done.status !== 0) throw new Error(`${done.status} ${done.signal} ${done.stderr}`);
  return JSON.parse(done.stdout);
};
'''


@pytest.fixture(scope="module")
def victims(spored, victim_archive):
    with zipfile.ZipFile(io.BytesIO(victim_archive)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files.update({"index.js": STARTER, "main.py": (VICTIMS / "main.py").read_text()})
    spored.deploy("victims", files, "index.handler", "ISOLATION_INVOCATION", runtime="node",
                  limits={"memory_bytes": 512 << 20, "timeout_ms": 30000})
    return lambda victim, **event: spored.result("victims", {"victim": victim, **event})


def test_signal_to_everybody_stays_inside(spored, victims):
    spored.deploy("bystander", {"app.py": "def handler(e, c):\n    return 1\n"})
    before = spored.invoke("bystander")
    assert spored.invoke("victims", {"victim": "everybody"})["error"], "node itself is among them"
    after = spored.invoke("bystander")
    assert after["instance_id"] == before["instance_id"] and spored.process.poll() is None


def test_proc_shows_the_sandbox_alone(victims):
    found = victims("proc_view")
    # The init, node, and what node has started.
    assert_proc_is_of_the_sandbox(found, 3)


OWN = r'''
const fs = require('fs'), net = require('net'), dgram = require('dgram'), os = require('os');
const attempt = (act) => { try { const made = act(); return made === undefined ? 'DONE' : made; } catch (e) { return e.info?.code ?? e.code ?? e.message; } };
const later = (start) => new Promise((resolve) => start(resolve));
exports.handler = async (event) => ({
  shadow: attempt(() => fs.readFileSync('/etc/shadow').length),
  root: attempt(() => fs.writeFileSync('/x', '')), host: attempt(() => fs.writeFileSync('/run/spore/host/node/host.js', '')),
  init: attempt(() => process.kill(1, 'SIGKILL') && 'sent'), uid: attempt(() => process.setuid(0)),
  gid: attempt(() => process.setgid(0)), groups: attempt(() => process.setgroups([0])),
  nice: attempt(() => os.setPriority(0, -5)), device: attempt(() => fs.openSync('/dev/mem', 'r')),
  environ: attempt(() => fs.readFileSync('/proc/1/environ').length),
  tcp: await later((done) => net.connect(80, '127.0.0.1').on('error', (e) => done(e.code)).on('connect', () => done('DONE'))),
  listen: await later((done) => net.createServer().on('error', (e) => done(e.code)).listen(0, '0.0.0.0', () => done('DONE'))),
  udp: await later((done) => { try { dgram.createSocket('udp4').on('error', (e) => done(e.code)).bind(0, () => done('DONE')); } catch (e) { done(e.code); } }),
  abstract: await later((done) => net.connect('\0' + event.name).on('error', (e) => done(e.code)).on('connect', () => done('DONE'))),
  files: fs.readdirSync('/proc/self/fd').length,
});
'''


def test_what_node_itself_attempts(spored):
    spored.deploy("own", {"index.js": OWN}, "index.handler", runtime="node")
    found = spored.result("own", {"name": "spore-test-nobody"})
    assert found.pop("files") < 40
    init = found.pop("init")
    assert init in ("sent", "EPERM"), init  # signals to pid 1 of one's own namespace are dropped
    # Later versions of Node refuse changes of ids by themselves, for libuv's rings' sake.
    assert_refused(found, {"EACCES", "EPERM", "EROFS", "ENOENT", "EAFNOSUPPORT", "ECONNREFUSED", "ENOSYS",
                           "ERR_INVALID_STATE"})
    assert spored.result("own", {"name": "x"}), "and init lives"


def test_the_hosts_addon_gives_a_tenant_nothing(spored):
    """It is there to be loaded; what it can do needs privileges that are gone."""
    code = ("exports.handler = async () => { const m = { exports: {} };"
            "process.dlopen(m, '/run/spore/host/node/spore_node.node');"
            "try { m.exports.serveForks('1', 0, performance.timeOrigin, 0, 1, 0, 1, '', '', ''); return 'served'; }"
            "catch (error) { return 'refused: ' + error.message; } };")
    spored.deploy("addon", {"index.js": code}, "index.handler", runtime="node")
    response = spored.invoke("addon")
    assert response["error"] or str(response["result"]).startswith("refused"), response
    spored.deploy("after", {"index.js": "exports.handler = async () => 1;"}, "index.handler", runtime="node")
    assert spored.result("after") == 1


def test_nothing_of_another_invocation_is_seen_by_node(spored):
    code = ("const fs = require('fs'); exports.handler = async (event) => { const found = [globalThis.left,"
            "process.env.LEFT, Array.prototype.left, fs.existsSync('/tmp/left'), fs.existsSync('/dev/shm/left')];"
            "globalThis.left = 1; process.env.LEFT = '1'; Array.prototype.left = 1;"
            "fs.writeFileSync('/tmp/left', ''); fs.writeFileSync('/dev/shm/left', ''); return found; };")
    spored.deploy("leaves", {"index.js": code}, "index.handler", "ISOLATION_INVOCATION", runtime="node")
    for _ in range(3):
        assert spored.result("leaves") == [None, None, None, False, False]
