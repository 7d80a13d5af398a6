"""What a hostile program attempts from inside a session: the promises of docs/threat-model.md, again."""
import contextlib
import io
import json
import zipfile

import pytest
import sandboxes
from test_isolation import (  # noqa: F401
    assert_refused,
    host_files,
    test_files_of_the_host_cannot_be_read,
    test_filter_cannot_be_fooled_by_hidden_bits,
    test_foreign_system_call_tables_are_closed,
    test_kernel_interfaces_are_closed,
    test_mount_tree_cannot_be_changed,
    test_namespaces_cannot_be_made_or_joined,
    test_network_is_out_of_reach,
    test_no_privilege_is_held_or_gained,
    test_nothing_can_be_typed_into_a_terminal,
    test_processes_cannot_be_traced_or_read,
    test_setuid_programs_give_nothing,
    test_the_root_holds_only_what_an_image_needs,
    test_users_of_the_host_are_not_known,
)


@contextlib.contextmanager
def brought_back(spored, box):
    """The session, put on disk and brought back from there."""
    name = spored.call("SessionCheckpoints", "Create", {"id": box.id})["checkpoint"]["name"]
    back = sandboxes.Sandbox(spored, spored.call("SessionCheckpoints", "Restore", {"name": name})["id"])
    spored.call("SessionCheckpoints", "Remove", {"name": name})
    try:
        yield back
    finally:
        back.kill()


@pytest.fixture(scope="module", params=["code", "program", "restored code", "restored program"])
def victims(spored, victim_archive, request, tmp_path_factory):
    """Runs a hostile program in a session, in its interpreter or as a program, from /tmp."""
    place = tmp_path_factory.mktemp("archive")
    with zipfile.ZipFile(io.BytesIO(victim_archive)) as archive:
        archive.extractall(place)
        for name in archive.namelist():
            if name.startswith("bin/"):
                (place / name).chmod(0o755)
    with contextlib.ExitStack() as stack:
        box = stack.enter_context(
            sandboxes.sandbox(spored, ttl_ms=600_000, limits={"memory_bytes": 256 << 20}))
        assert spored.cli("sandbox", "cp", str(place) + "/.", f"{box.id}:/tmp/task").code == 0
        if request.param.startswith("restored"):
            box.code("import threading, time\n"
                     "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()")
            box = stack.enter_context(brought_back(spored, box))

        def call(victim, **event):
            code = (f"import sys, json; sys.path.insert(0, '/tmp/task'); import app\n"
                    f"json.dumps(app.handler({{'victim': {victim!r}, **{event!r}}}, None))")
            if request.param.endswith("code"):
                done = box.code(code)
                assert done["error"] is None, done
                return json.loads(json.loads(done["json"]))
            done = box.exec("python3", "-c", code.replace("\njson.dumps(", "\nprint(json.dumps(") + ")")
            assert done["code"] == 0, done
            return json.loads(done["stdout"].splitlines()[-1])

        yield call


def test_nothing_but_tmp_can_be_written(host_files):  # noqa: F811
    # The victim's own file lies in /tmp here, where all may be written.
    assert_refused(host_files["overwrite"], done=["/tmp/task/host_files.py"])
    assert host_files["writable"] == []
