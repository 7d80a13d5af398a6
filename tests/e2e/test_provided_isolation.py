"""The hostile programs again, as a custom runtime: in a program that the confined host has started."""
import io
import zipfile

import pytest
from test_isolation import (  # noqa: F401
    assert_proc_is_of_the_sandbox,
    host_files,
    test_c_programs_are_refused_the_same,
    test_files_of_the_host_cannot_be_read,
    test_filter_cannot_be_fooled_by_hidden_bits,
    test_foreign_system_call_tables_are_closed,
    test_kernel_interfaces_are_closed,
    test_mount_tree_cannot_be_changed,
    test_namespaces_cannot_be_made_or_joined,
    test_no_privilege_is_held_or_gained,
    test_nothing_but_tmp_can_be_written,
    test_nothing_of_another_invocation_is_seen,
    test_processes_cannot_be_traced_or_read,
    test_setuid_programs_give_nothing,
    test_zygote_is_not_root_of_the_host,
)

BOOTSTRAP = """#!/usr/bin/python3 -B
import http.client
import json
import os
import sys
sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
import app

connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    connection.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = connection.getresponse()
    path = "/2018-06-01/runtime/invocation/" + answer.headers["Lambda-Runtime-Aws-Request-Id"]
    result = app.handler(json.load(answer), None)
    connection.request("POST", path + "/response", json.dumps(result))
    connection.getresponse().read()
"""


@pytest.fixture(scope="module")
def victims(spored, victim_archive):
    buffer = io.BytesIO(victim_archive)
    with zipfile.ZipFile(buffer, "a") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o100755 << 16
        archive.writestr(entry, BOOTSTRAP)
    spored.deploy("victims", buffer.getvalue(), runtime="provided", isolation="ISOLATION_INVOCATION",
                  limits={"memory_bytes": 256 << 20, "timeout_ms": 30000})
    return lambda victim, **event: spored.result("victims", {"victim": victim, **event})


def test_proc_shows_the_sandbox_alone(victims):
    # The init, the one that answers the Runtime API, and the bootstrap.
    assert_proc_is_of_the_sandbox(victims("proc_view"), 3)


def test_signal_to_everybody_stays_inside(spored, victims):
    spored.deploy("bystander", {"app.py": "def handler(e, c):\n    return 1\n"})
    before = spored.invoke("bystander")
    error = spored.failure("victims", {"victim": "everybody"})  # who answers the Runtime API is among them
    assert error["death"]["message"] == "ended by SIGTERM"
    after = spored.invoke("bystander")
    assert after["instance_id"] == before["instance_id"] and spored.process.poll() is None


def test_no_descriptor_is_inherited(victims):
    """Only the three standard streams: neither the channel to spored, nor the host's sockets."""
    found = victims("descriptors")
    others = {number: what for number, what in found.items() if int(number) > 2}
    assert set(found) >= {"0", "1", "2"}
    assert len(others) <= 1 and all(kind == "sock" for kind, _ in others.values()), others  # its own connection


def test_only_tcp_and_udp(victims):
    refused = victims("network")["refused"]
    done = {"inet stream", "inet datagram", "inet6 stream"}
    assert {name for name, outcome in refused.items() if outcome == "DONE"} == done
