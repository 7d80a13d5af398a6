"""Rules on how the tree hangs together: who may include whom, and that nothing lies about unused."""

import os
import re
import subprocess

import tree

CXX = tree.files_ending(".cc", ".h")

# Folder -> what it may include beside itself. ARCHITECTURE.md says why.
MAY_INCLUDE = {
    "sandbox": (),
    "zygote": ("sandbox/", "include/"),
    "daemon": ("sandbox/", "zygote/protocol.h", "zygote/session_protocol.h", "zygote/branch_protocol.h",
               "zygote/checkpoint_protocol.h", "spore/v1/"),
    "tools": ("spore/v1/",),
}
# Layers inside sandbox/: a lower one knows nothing of the higher.
SANDBOX_LAYERS = ["sandbox/sys/", "sandbox/policy/", "sandbox/steps/", "sandbox/"]
# Rooms of daemon/, likewise; what is in none of them puts all together.
DAEMON_ROOMS = ["common", "loop", "config", "rpc", "functions", "checkpoints", "history", "zygotes", "images",
                "instances", "sessions", "events", "services"]
# Programs of their own, from which spored takes no more than how to speak with them.
DAEMON_PROGRAMS = ("unpack", "egress")


def includes(path):
    return re.findall(r'^\s*#\s*include\s+"([^"]+)"', tree.read(path), re.M)


def layer_of(path):
    return next(i for i, prefix in enumerate(SANDBOX_LAYERS) if path.startswith(prefix))


def test_includes_follow_the_layers():
    wrong = []
    for path in tree.files_ending(".cc", ".h", below=MAY_INCLUDE):
        folder = path.split("/")[0]
        allowed = (folder + "/",) + MAY_INCLUDE[folder] + ("build_config.h",)
        wrong += ["%s includes %s" % (path, name) for name in includes(path)
                  if not name.startswith(allowed)]
    assert not wrong, "\n".join(wrong)


def test_sandbox_layers():
    """sys < policy < the rest; a step may use sandbox/*.h only where no launcher is among them."""
    wrong = []
    for path in tree.files_ending(".cc", ".h", below=("sandbox",)):
        own = min(layer_of(path), 2)
        wrong += ["%s includes %s" % (path, name) for name in includes(path)
                  if name.startswith("sandbox/") and min(layer_of(name), 2) > own
                  and name != "sandbox/kernel_features.h"]
    assert not wrong, "\n".join(wrong)


def test_daemon_rooms():
    """A room knows nothing of a later one."""
    def room_of(name):
        parts = name.split("/")
        return parts[1] if len(parts) == 3 else ""

    wrong = []
    for path in tree.files_ending(".cc", ".h", below=("daemon",)):
        if room_of(path) in ("", *DAEMON_PROGRAMS):
            continue
        later = DAEMON_ROOMS[DAEMON_ROOMS.index(room_of(path)) + 1:]
        wrong += ["%s includes %s" % (path, name) for name in includes(path)
                  if name.startswith("daemon/") and room_of(name) in ("", *later)]
    assert not wrong, "\n".join(wrong)


def test_includes_name_files_from_the_top():
    wrong = ["%s includes %s" % (path, name) for path in CXX for name in includes(path)
             if not re.fullmatch(r"spore/v1/\w+\.pb\.h", name) and not name.endswith("build_config.h")
             and not os.path.exists(os.path.join(tree.TOP, name))]
    assert not wrong, "\n".join(wrong)


def meson_text():
    return "\n".join(tree.read(p) for p in tree.all_files() if os.path.basename(p) == "meson.build")


def test_every_source_is_built():
    """Each .cc is named by the meson.build of its folder or of one above it."""
    builds = {os.path.dirname(p): tree.read(p) for p in tree.all_files()
              if os.path.basename(p) == "meson.build"}
    unused = []
    for path in tree.files_ending(".cc"):
        if path.startswith(("tests/natives/", "tests/e2e/cpp_client/", "examples/clients/")):  # compiled by tests
            continue
        folder, name = os.path.dirname(path), os.path.basename(path)
        while True:
            if folder in builds and re.search(r"['/]%s'" % re.escape(name), builds[folder]):
                break
            if not folder:
                unused.append(path)
                break
            folder, name = os.path.dirname(folder), os.path.basename(folder) + "/" + name
            if not folder and "" not in builds:
                unused.append(path)
                break
    # Tests are listed by their stem, in a loop that adds "_test.cc".
    unused = [p for p in unused if not (p.endswith("_test.cc") and re.search(
        r"'%s'" % re.escape(os.path.basename(p).removesuffix("_test.cc")),
        builds.get(os.path.dirname(p), "")))]
    assert not unused, "no meson.build names: %s" % unused


def test_every_header_is_included():
    used = {name for path in CXX for name in includes(path)}
    unused = [p for p in tree.files_ending(".h", below=tree.CODE_FOLDERS) if p not in used]
    assert not unused, "nothing includes: %s" % unused


def test_every_script_and_python_file_is_used():
    """Named somewhere else in the tree, or found by a test runner because of its name."""
    everything = {p: tree.read(p) for p in tree.all_files()
                  if p.endswith((".py", ".build", ".sh", ".md", ".cc", ".h", ".toml", ".service"))
                  or p.startswith(("scripts/", ".ci/", "tools/clients/protoc-"))}
    unused = []
    for path in tree.all_files():
        name = os.path.basename(path)
        if not path.endswith(".py") and not path.startswith("scripts/"):
            continue
        if name.startswith("test_") or name in ("conftest.py", "__init__.py"):
            continue
        # Functions that are deployed whole, and programs that a glob packs.
        if path.startswith(("examples/", "tests/victims/", "tests/faults/")):
            continue
        stem = re.escape(name.removesuffix(".py"))
        if not any(re.search(r"\b%s\b" % stem, text) for p, text in everything.items() if p != path):
            unused.append(path)
    assert not unused, unused


def test_every_program_has_a_manual_page():
    """What meson installs into bin or sbin is documented under its own name."""
    pages = {os.path.basename(p).rsplit(".", 1)[0] for p in tree.all_files() if p.startswith("man/")}
    text = meson_text()
    programs = re.findall(r"executable\(\s*'([^']+)'((?:(?!_library\().)*?)\n\)", text, re.S)
    public = [name for name, rest in programs
              if "install: true" in rest and not re.search(r"install_dir: *(?:libexecdir|hostsdir)", rest)]
    missing = [name for name in public if name not in pages]
    assert public and not missing, "no page in man/ for %s" % (missing or "any program")


def test_manual_pages_format():
    """man(1) has nothing to complain about."""
    pages = [p for p in tree.all_files() if re.search(r"^man/[^/]+\.[1-8]$", p)]
    assert pages
    for path in pages:
        first = [line for line in tree.read(path).splitlines() if not line.startswith('.\\"')][0]
        assert first.startswith((".TH ", ".Dd ")), path + ": begins with " + first


def test_documents_link_to_what_is_there():
    """Relative links, and paths of the tree written in backquotes, in every document."""
    folders = {p.split("/")[0] for p in tree.all_files() if "/" in p}
    wrong = []
    for path in tree.files_ending(".md"):
        text = tree.read(path)
        names = [n for n in re.findall(r"\]\(([^)#\s]+)\)", text) if not re.match(r"\w+:", n)]
        quoted = [n for n in re.findall(r"`([\w.@-]+(?:/[\w.@*{},-]*)+)`", text) if n.split("/")[0] in folders]
        for name in names:
            if not os.path.exists(os.path.join(tree.TOP, os.path.dirname(path), name)):
                wrong.append("%s: %s" % (path, name))
        for name in quoted:
            if not re.search(r"[*{}]", name) and not os.path.exists(os.path.join(tree.TOP, name)):
                wrong.append("%s: %s" % (path, name))
    assert not wrong, "\n".join(wrong)


def test_promises_name_tests_that_exist():
    """docs/threat-model.md: each numbered promise names at least one test, and the test is there."""
    text = tree.read("docs/threat-model.md")
    promises = re.findall(r"^\| *(\d+) *\|.*$", text, re.M)
    assert promises == [str(i + 1) for i in range(len(promises))], "numbered from 1, no gap"
    tests = {name for p in tree.all_files() if p.startswith("tests/") and p.endswith(".py")
             for name in re.findall(r"^\s*def (test_\w+)", tree.read(p), re.M)}
    wrong = []
    for row in re.findall(r"^\| *\d+ *\|.*$", text, re.M):
        named = re.findall(r"`(?:[\w/.]+::)?(test_\w+)", row)
        if not named:
            wrong.append("no test: " + row)
        wrong += ["no such test: " + name for name in named if name not in tests]
    assert not wrong, "\n".join(wrong)


def test_manual_page_lists_the_same_promises():
    page = tree.read("man/spore-security.7")
    listed = re.search(r"BEGIN PROMISES(.*)END PROMISES", page, re.S).group(1).count("\n.It\n")
    assert listed == len(re.findall(r"^\| *\d+ *\|", tree.read("docs/threat-model.md"), re.M))


# Where a fault point (sandbox/sys/fault_point.h) is not named by a literal.
COMPUTED_POINTS = {
    "PointBefore(item.kind)": {"async-accept-commit", "async-record-commit"},
    "PointAfter(item.kind)": {"async-accept-committed", "async-record-committed"},
    **{f'step + "{end}"': {"deploy" + end, "update" + end} for end in ("-unpacked", "-staged", "-synced")},
}


def test_every_fault_point_is_tripped():
    points, named = set(), set()
    for path in tree.files_ending(".cc", below=("sandbox", "zygote", "daemon")):
        for point in re.findall(r"\bFaultPoint\(((?:[^()]|\([^()]*\))+)\)(?! {)", tree.read(path)):
            points |= COMPUTED_POINTS.get(point, {point.strip('"')})
    for path in tree.files_ending(".py", below=("tests",)):
        if path.startswith("tests/e2e/"):
            named |= set(re.findall(r'"([\w-]+)[":]', tree.read(path)))
    assert points and points <= named


def test_git_ignores_what_builds_make():
    done = subprocess.run(["git", "-c", "safe.directory=*", "check-ignore", "build-test/", "build-release/"],
                          cwd=tree.TOP, capture_output=True, text=True)
    assert done.returncode != 1, "build-* is not ignored"


def test_every_setting_is_in_the_shipped_file_and_the_manual():
    keys = set(re.findall(r'reader\.(?:Number|Size|Bool|String|Strings|AbsolutePath)\("([a-z-]+)"',
                          tree.read("daemon/config/config.cc")))
    assert len(keys) > 40
    shipped, manual = tree.read("config/spore.toml"), tree.read("man/spore.toml.5")
    missing = [key for key in sorted(keys)
               if not re.search(r"^#%s = " % key, shipped, re.M) or not re.search(r"^\.It Va .*(?<![\w-])%s(?![\w-])" % key, manual, re.M)]
    assert not missing, missing
