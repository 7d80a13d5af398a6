"""The files of the tree, and C++ source cut into what the rules look at."""

import os
import re
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CODE_FOLDERS = ("sandbox", "zygote", "daemon", "tools")


GENERATED = re.compile(r"""^(?:#|//|\"{3}) ?Written by tools/clients/generate""")


def is_generated(path):
    return bool(GENERATED.match(read(path)[:80]))


def all_files():
    """Paths relative to the top: what git tracks or would track, or the whole tree without git."""
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=TOP, capture_output=True)
    if listing.returncode == 0:
        names = listing.stdout.decode().split("\0")
    else:
        names = []
        for directory, folders, files in os.walk(TOP):
            folders[:] = [f for f in folders if not f.startswith(("build", ".git", "__pycache__"))]
            names += [os.path.relpath(os.path.join(directory, f), TOP) for f in files]
    return sorted({n for n in names if n and os.path.isfile(os.path.join(TOP, n))})


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as file:
        return file.read()


def files_ending(*endings, below=()):
    return [p for p in all_files() if p.endswith(endings) and (not below or p.split("/")[0] in below)]


TOKEN = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | R"(?P<mark>[^()\s\\]*)\(.*?\)(?P=mark)" | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'""",
    re.S | re.X)


def without_comments_and_strings(text):
    """The same text, same lines, with every comment gone and every literal emptied."""

    def blank(match):
        token = match.group(0)
        lines = "\n" * token.count("\n")
        if token.startswith("/"):
            return lines
        # Digit separators (1'000) look like the start of a character literal.
        before = text[match.start() - 1 : match.start()]
        if token[0] == "'" and before.isalnum() and before not in "uUL":
            return token
        return '""' + lines if token[0] != "'" else "' '"

    return TOKEN.sub(blank, text)


def functions(text):
    """Yields (name, first line, last line) of function bodies: a heuristic for code in our format.

    A body is a `{` that ends a line which follows a `)` (with const, noexcept, initialisers or a
    result type between), outside any other body. Namespaces and classes are looked into.
    """
    code = without_comments_and_strings(text)
    code = re.sub(r"^[ \t]*#.*(?:\\\n.*)*$", lambda m: "\n" * m.group(0).count("\n"), code, flags=re.M)
    stack, header_start, body = [], 0, None
    for match in re.finditer(r"[{};]", code):
        position, mark = match.start(), match.group(0)
        if mark == "{":
            header = code[header_start:position].strip()
            if body is None:
                scope = re.search(r"\b(namespace|class|struct|union|enum|extern)\b[^()]*$", header)
                if not scope and ")" in header and not header.endswith(("=", ",", "(")):
                    body = (len(stack), header, code.count("\n", 0, position) + 1)
            stack.append(mark)
            header_start = position + 1
        elif mark == "}":
            if stack:
                stack.pop()
            if body and len(stack) == body[0]:
                name = re.search(r"([\w:~]+)\s*\(", body[1])
                yield (name.group(1) if name else "?", body[2], code.count("\n", 0, position) + 1)
                body = None
            header_start = position + 1
        else:
            header_start = position + 1
