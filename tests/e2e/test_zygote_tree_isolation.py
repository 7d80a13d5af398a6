"""A sandbox that comes from the zygote of a library set is as confined as any."""
import pytest
import sets
from test_isolation import (  # noqa: F401
    host_files,
    test_every_sandbox_has_an_identity_of_its_own,
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
    test_nothing_of_another_invocation_is_seen,
    test_proc_shows_the_sandbox_alone,
    test_processes_cannot_be_traced_or_read,
    test_setuid_programs_give_nothing,
    test_signal_to_everybody_stays_inside,
    test_zygote_is_not_root_of_the_host,
)


@pytest.fixture(scope="module")
def spored():
    # Of Node: test_zygote_tree_isolation_node.py
    with sets.serve_from_dearer() as server:
        yield server


@pytest.fixture(scope="module")
def victims(spored, victim_archive):
    spored.deploy("victims", victim_archive, isolation="ISOLATION_INVOCATION",
                  limits={"memory_bytes": 256 << 20, "timeout_ms": 30000})
    start = spored.invoke("victims", {"victim": "proc_view"})["start_reason"]
    assert start.endswith("from library set dearer"), start

    def call(victim, **event):
        return spored.result("victims", {"victim": victim, **event})

    return call
