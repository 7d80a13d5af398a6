"""Checkpoints of images with a root of their own: tied to what the version holds, and gone with it."""
import shutil

import daemon
import images_of_own as own
import pytest
from test_checkpoints import checkpoints, create, evict, warm

CONFIG = {"ready-sandboxes": 2}
APP = {"app.py": "import os, json\n"
                 "def handler(e, c):\n"
                 "    return {'sum': sum(e), 'mark': open('/opt/mark').read(), 'pid': os.getpid(),\n"
                 "            'run': sorted(os.listdir('/run/spore'))}\n"}
RESTORE, COLD = "START_KIND_RESTORE", "START_KIND_COLD"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = own.python_root(tmp_path_factory.mktemp("root"))
    (root / "opt").mkdir()
    (root / "opt/mark").write_text("one")
    return root


def start(server):
    """With no image of the host but Python's."""
    images = str(server.directory / "images")
    server.write_config({**CONFIG, "image-dirs": [images]})
    shutil.copy(daemon.ROOT / "images/python.toml", images)


@pytest.fixture
def server():
    made = daemon.Spored()
    start(made)
    with made.running() as running:
        yield running


def import_image(server, root, name="mine"):
    done = server.cli("image", "import", name, "--runtime", "python", "--root", root, "-q", timeout=300)
    assert done.code == 0, done
    return done.out.strip()


def test_restored_after_eviction_and_restart_and_removed_with_its_image(server, root):
    assert import_image(server, root) == "mine@1"
    server.deploy("f", APP, image="mine")
    assert warm(server, "mine")["start_kind"] == COLD
    made = create(server, "mine")
    assert made["image"] == "mine@1"
    digest = server.cli("image", "show", "mine", "--json").json()["digest"]
    assert made["ties"]["image"] == digest
    for again in range(2):
        evict(server, "mine@1")
        restored = warm(server, "mine")
        assert restored["start_kind"] == RESTORE and restored["checkpoint"] == made["id"], restored
        answer = server.result("f", [1, 2, again])
        assert answer == {"sum": 3 + again, "mark": "one", "pid": 2, "run": answer["run"]}
        assert set(answer["run"]) == {"channel", "checkpoint", "criu", "host", "messages"}
    # A version whose zygote was not asked for yet has one too.
    assert server.stop() == 0
    server.uid_base += daemon.UIDS
    start(server)
    server.start()
    assert checkpoints(server)[made["id"]]["unusable"] == ""
    assert server.result("f", [4, 5])["sum"] == 9
    zygotes = {z["image"]: z for z in server.call("Zygotes", "List")["zygotes"]}
    assert zygotes["mine@1"]["checkpoint"] == made["id"]
    assert server.call("Checkpoints", "Restore", {"id": made["id"]})["checkpoint"] == made["id"]
    # They go with the version; another's stay.
    host = create(server, "python")
    server.remove_function("f")
    removed = server.cli("image", "rm", "mine@1", "--force")
    assert removed.code == 0, removed
    assert list(checkpoints(server)) == [host["id"]]
    assert not (server.state / "checkpoints/mine@1").exists()


def test_a_version_with_the_same_number_is_another(server, root, tmp_path):
    import_image(server, root)
    made = create(server, "mine")
    # As a crash between the two removals, or an operator's copy, could leave it.
    kept = tmp_path / "kept"
    shutil.copytree(server.state / "checkpoints/mine@1", kept)
    assert server.cli("image", "rm", "mine").code == 0
    shutil.copytree(kept, server.state / "checkpoints/mine@1")
    assert "no such image" in checkpoints(server)[made["id"]]["unusable"]
    error = server.error_of("Checkpoints", "Restore", {"id": made["id"]})
    assert "no image" in str(error)
    (root / "opt/mark").write_text("two")
    try:
        assert import_image(server, root) == "mine@1"
    finally:
        (root / "opt/mark").write_text("one")
    assert "its image was" in checkpoints(server)[made["id"]]["unusable"]
    server.deploy("f", APP, image="mine")
    assert server.result("f", [1])["mark"] == "two"
    zygote = [z for z in server.call("Zygotes", "List")["zygotes"] if z["image"] == "mine@1"][0]
    assert zygote["start_kind"] == COLD and "its image was" in zygote["start_reason"]
    assert "its image was" in str(server.error_of("Checkpoints", "Restore", {"id": made["id"]}))
    # And that of another image, put in its place.
    host = create(server, "python")
    shutil.move(server.state / "checkpoints/python" / host["id"], server.state / "checkpoints/mine@1")
    assert "another checkpoint" in checkpoints(server)[host["id"]]["unusable"]


def test_a_new_version_has_none_and_the_old_one_keeps_its_own(server, root):
    import_image(server, root)
    made = create(server, "mine@1")
    (root / "opt/mark").write_text("two")
    try:
        assert import_image(server, root) == "mine@2"
    finally:
        (root / "opt/mark").write_text("one")
    assert warm(server, "mine")["start_kind"] == COLD
    assert warm(server, "mine@1")["checkpoint"] == made["id"]
    assert server.cli("image", "rm", "mine@2").code == 0
    assert list(checkpoints(server)) == [made["id"]]


def test_a_changed_warm_up_is_another_image(server):
    made = create(server, "python")
    assert server.stop() == 0
    manifest = server.directory / "images/python.toml"
    manifest.write_text('warm-up = "json.dumps"\n' + manifest.read_text())
    server.start()
    assert "its image was" in checkpoints(server)[made["id"]]["unusable"]
