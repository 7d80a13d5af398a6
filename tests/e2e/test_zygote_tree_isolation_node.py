"""A sandbox that comes from the zygote of a library set of Node.js is as confined as any."""
import io
import zipfile

import pytest
import sets
import test_node_isolation
from test_isolation import (  # noqa: F401
    host_files,
    test_files_of_the_host_cannot_be_read,
    test_filter_cannot_be_fooled_by_hidden_bits,
    test_foreign_system_call_tables_are_closed,
    test_kernel_interfaces_are_closed,
    test_mount_tree_cannot_be_changed,
    test_namespaces_cannot_be_made_or_joined,
    test_network_is_out_of_reach,
    test_no_descriptor_is_inherited,
    test_no_privilege_is_held_or_gained,
    test_nothing_but_tmp_can_be_written,
    test_processes_cannot_be_traced_or_read,
    test_setuid_programs_give_nothing,
    test_zygote_is_not_root_of_the_host,
)
from test_node_isolation import test_proc_shows_the_sandbox_alone, test_what_node_itself_attempts  # noqa: F401


@pytest.fixture(scope="module")
def spored():
    with sets.serve_from_dearer(sets.NODE) as server:
        yield server


@pytest.fixture(scope="module")
def victims(spored, victim_archive):
    with zipfile.ZipFile(io.BytesIO(victim_archive)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files.update({"index.js": test_node_isolation.STARTER,
                  "main.py": (test_node_isolation.VICTIMS / "main.py").read_text()})
    spored.deploy("victims", files, "index.handler", "ISOLATION_INVOCATION", runtime="node",
                  limits={"memory_bytes": 512 << 20, "timeout_ms": 30000})
    start = spored.invoke("victims", {"victim": "proc_view"})["start_reason"]
    assert start.endswith("from library set dearer"), start
    return lambda victim, **event: spored.result("victims", {"victim": victim, **event})


TWINS = """const crypto = require('crypto');
exports.handler = async () => [Math.random(), crypto.randomUUID(), crypto.randomInt(2 ** 40), crypto.randomBytes(8).toString('hex'),
  require('vm').runInNewContext('Math.random()'), process.pid, performance.timeOrigin];
"""


def test_siblings_share_no_randomness(spored):
    spored.deploy("twins", {"index.js": TWINS}, "index.handler", "ISOLATION_INVOCATION", runtime="node")
    found = [spored.result("twins") for _ in range(8)]
    for at in (0, 1, 2, 3, 4, 6):
        assert len({answer[at] for answer in found}) == 8, (at, found)
    assert {answer[5] for answer in found} == {2}
