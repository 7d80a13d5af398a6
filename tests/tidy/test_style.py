"""Rules on the text of the tree: sizes, format, calls that we do not make, names that do not belong."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import tree

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 70
CXX = tree.files_ending(".cc", ".h")
OURS = tree.files_ending(".cc", ".h", below=tree.CODE_FOLDERS)

# (pattern in code without comments and strings, why not, paths where it is allowed)
BANNED = [
    (r"\b(?:strcpy|strcat|stpcpy|sprintf|vsprintf|gets|strtok)\s*\(", "unbounded or stateful", ()),
    (r"(?<![\w.>])(?:std::)?(?:system|popen)\s*\(", "starts a shell", ()),
    (r"(?<![\w.>])(?:std::)?(?:rand|srand|random|drand48)\s*\(", "predictable: use getrandom(2)", ()),
    (r"(?<![\w.>])(?:std::)?(?:atoi|atol|atof|atoll)\s*\(", "no error: use std::from_chars", ()),
    (r"\b(?:mktemp|tmpnam|tempnam)\s*\(", "a race: use mkostemp(3)", ()),
    (r"\bstd::(?:jthread|thread|async)\b", "threads: only in the blocking lane, closing aside, benchmarks",
     ("daemon/loop/blocking_lane", "daemon/loop/close_aside", "tools/bench/", "tests/")),
    (r"\bpthread_create\s*\(", "threads: only in the blocking lane", ()),
    (r"(?<![\w.>])(?:::)?vfork\s*\(", "use clone3(2) or posix_spawn(3)", ()),
    (r"(?<![\w.>])(?:::)?signal\s*\((?![^)]*\bSIG_(?:IGN|DFL)\b)", "handlers: use sigaction(2)", ()),
    (r"(?<![\w.>])(?:::)?accept\s*\([^()]*,[^()]*,", "not close-on-exec: use accept4(2)", ()),
    (r"(?<![\w.>])(?:::)?pipe\s*\(", "not close-on-exec: use pipe2(2)", ()),
    (r"(?<![\w.>])(?:::)?(?:dup|creat)\s*\(", "not close-on-exec: use F_DUPFD_CLOEXEC, O_CLOEXEC",
     ("zygote/hosts/",)),
    (r"\bcatch\s*\(\s*\.\.\.\s*\)\s*\{\s*\}", "swallows every error", ()),
    (r"\breinterpret_cast<[^>]*\bconst_cast\b", "two casts at once", ()),
    (r"^\s*using\s+namespace\s+(?!std::(?:literals|chrono_literals|string_literals|string_view_literals))",
     "imports every name", ()),
]
# Calls that make a descriptor, and the flag that must stand among their arguments.
CLOEXEC = [
    (r"(?<![\w.>])(?:::)?open(?:at)?\s*\(", "O_CLOEXEC"),
    (r"(?<![\w.>])(?:::)?(?:socket|socketpair)\s*\(", "SOCK_CLOEXEC"),
    (r"(?<![\w.>])(?:::)?accept4\s*\(", "SOCK_CLOEXEC"),
    (r"(?<![\w.>])(?:::)?pipe2\s*\(", "O_CLOEXEC"),
    (r"(?<![\w.>])(?:::)?memfd_create\s*\(", "MFD_CLOEXEC"),
    (r"(?<![\w.>])(?:::)?eventfd\s*\(", "EFD_CLOEXEC"),
    (r"(?<![\w.>])(?:::)?signalfd\s*\(", "SFD_CLOEXEC"),
    (r"(?<![\w.>])(?:::)?timerfd_create\s*\(", "TFD_CLOEXEC"),
    (r"(?<![\w.>])(?:::)?epoll_create1\s*\(", "EPOLL_CLOEXEC"),
]


def arguments(code, start):
    """The text between the parenthesis that opens before `start` and the one that closes it."""
    depth = 1
    for end in range(start, len(code)):
        depth += {"(": 1, ")": -1}.get(code[end], 0)
        if depth == 0:
            return code[start:end]
    return code[start:]


def places(pattern, code):
    for match in re.finditer(pattern, code, re.M):
        yield match, code.count("\n", 0, match.start()) + 1


@pytest.mark.parametrize("ending", [".cc", ".h", ".py", ".c", ".proto", ".ts", ".go"])
def test_files_are_short(ending):
    long = {p: n for p in tree.files_ending(ending)
            if (n := tree.read(p).count("\n")) > MAX_FILE_LINES and not tree.is_generated(p)}
    assert not long, "files over %d lines: cut them by purpose: %s" % (MAX_FILE_LINES, long)


def test_functions_are_short():
    long = ["%s:%d %s, %d lines" % (path, first, name, last - first + 1)
            for path in CXX for name, first, last in tree.functions(tree.read(path))
            if last - first + 1 > MAX_FUNCTION_LINES]
    assert not long, "functions over %d lines:\n%s" % (MAX_FUNCTION_LINES, "\n".join(long))


def test_no_banned_calls():
    found = []
    for path in OURS:
        code = tree.without_comments_and_strings(tree.read(path))
        for pattern, why, allowed in BANNED:
            if not path.startswith(tuple(allowed)):
                found += ["%s:%d %s (%s)" % (path, line, m.group(0).strip(), why)
                          for m, line in places(pattern, code)]
    assert not found, "\n".join(found)


def test_descriptors_are_close_on_exec():
    found = []
    for path in OURS:
        code = tree.without_comments_and_strings(tree.read(path))
        for pattern, flag in CLOEXEC:
            for match, line in places(pattern, code):
                given = arguments(code, match.end())
                if re.match(r'"", O_RDWR\) != fd', code[match.end():]):
                    continue  # fills an empty descriptor 0, 1 or 2, which is to survive exec
                # A declaration or a method of ours has types or nothing between its parentheses.
                if given.strip() and flag not in given and "," in given:
                    found.append("%s:%d %s without %s" % (path, line, match.group(0), flag))
    assert not found, "\n".join(found)


def test_headers_name_the_integers_they_use():
    """Debian 13's standard library does not bring <cstdint> with <string>: own headers that declare with its types must."""
    uses = re.compile(r"\bu?int(?:8|16|32|64)_t\b")
    for path in tree.files_ending(".h", below=(*tree.CODE_FOLDERS, "include")):
        text = tree.read(path)
        alone = not re.search(r'#include "', text)
        if alone and uses.search(re.sub(r"//[^\n]*", "", text)):
            assert re.search(r"#include <(?:cstdint|stdint\.h|cinttypes)>", text), path


def test_names_of_arguments_fit_every_parser():
    """CLI11 of Debian 13 takes none of these in the name of an option or argument, and ends the whole command."""
    for path in tree.files_ending(".cc", below=("tools",)):
        for names in re.findall(r'add_(?:option|flag)\(\s*"([^"]*)"', tree.read(path)):
            assert not re.search(r"[: ]", names), f"{path}: {names}"


def test_headers_are_guarded_and_described():
    for path in tree.files_ending(".h", below=tree.CODE_FOLDERS):
        text = tree.read(path)
        assert "#pragma once" in text, path
        assert text.startswith("//"), path + ": begins without a sentence on what the file is"


def test_python_names():
    """Each name that Python files use is there, and each module that they import is used."""
    done = subprocess.run([sys.executable, "-m", "pyflakes", *tree.files_ending(".py")], cwd=tree.TOP,
                          capture_output=True, text=True)
    assert not done.stderr, done.stderr
    wrong = []
    for line in done.stdout.splitlines():
        path, number = line.split(":")[:2]
        text = tree.read(path)
        # Fixtures are imported by name, and used by the names of arguments.
        if re.search(r"'\w+' imported but unused", line) and "noqa" not in text.split("\n")[int(number) - 1]:
            wrong.append(line)
        if "undefined name" in line and "import *" not in text:
            wrong.append(line)
    assert not wrong, "\n".join(wrong)


def test_clang_format():
    """Formatted by clang-format 14 (Debian 12). Other versions break lines otherwise, so on a newer
    Debian only what every version agrees on is looked at: no tabs, 100 columns."""
    program = shutil.which("clang-format-14") or shutil.which("clang-format")
    version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout if program else ""
    if re.search(r"version 14\.", version):
        done = subprocess.run([program, "--dry-run", "--Werror", *CXX], cwd=tree.TOP,
                              capture_output=True, text=True)
        assert done.returncode == 0, "run `%s -i` on:\n%s" % (
            program, "\n".join(sorted({line.split(":")[0] for line in done.stderr.splitlines()
                                       if ": error:" in line})))
    for path in CXX:
        code = tree.without_comments_and_strings(tree.read(path))  # text may be as long as it must
        for number, line in enumerate(code.split("\n"), 1):
            place = "%s:%d" % (path, number)
            assert "\t" not in line, place + ": tab"
            assert len(line) <= 100, place + ": too long"


def test_python_compiles_and_is_plain():
    for path in tree.files_ending(".py"):
        text = tree.read(path)
        # The broken function of a test may be broken on purpose: those live as text, not as files.
        compile(text, path, "exec")
        assert "\t" not in text, path + ": tab"


def test_scripts_are_sound():
    """Shell scripts parse; what people run can be run and says what it is."""
    for path in tree.all_files():
        if not path.startswith(("scripts/", ".ci/")):
            continue
        done = subprocess.run(["bash", "-n", os.path.join(tree.TOP, path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        if not path.endswith(".sh"):
            assert os.access(os.path.join(tree.TOP, path), os.X_OK), path + " cannot be executed"


# Documents that are cited. Where packages come from is the machine's business, told by its own
# configuration, so no other host is named anywhere.
CITED_HOSTS = {"github.com", "docs.kernel.org", "www.kernel.org", "man7.org", "www.apache.org",
               "criu.org", "lwn.net", "keepachangelog.com", "semver.org", "www.debian.org", "www.w3.org", "peps.python.org",
               "protobuf.dev",
               "docs.python.org", "www.freedesktop.org", "localhost", "example.com",
               "xml.zope.org"}  # the last is a name space, not an address


def test_only_documents_are_linked():
    found = []
    for path in tree.all_files():
        try:
            text = tree.read(path)
        except UnicodeDecodeError:
            continue
        found += ["%s:%d %s" % (path, line, m.group(0))
                  for m, line in places(r"\b(?:https?|ftp|git|ssh)://([\w.-]+\w)", text)
                  if m.group(1) not in CITED_HOSTS]
    assert not found, "\n".join(found)


def test_nothing_is_left_to_do_silently():
    """What is unfinished is an issue, not a mark in the source."""
    found = ["%s:%d" % (path, line) for path in OURS + tree.files_ending(".py", below=tree.CODE_FOLDERS)
             for _, line in places(r"\b(?:TODO|FIXME|XXX|HACK)\b", tree.read(path))]
    assert not found, found
