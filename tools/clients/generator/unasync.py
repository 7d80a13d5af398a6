"""Writes the blocking form of the Python client from its asynchronous one, word by word.

unasync.py FOLDER-OF-_async OUTPUT-PACKAGE-FOLDER. Also for generated files below OUTPUT/_async.
"""
import pathlib
import re
import sys

WORDS = [
    (r"\basync def\b", "def"), (r"\basync with\b", "with"), (r"\basync for\b", "for"),
    (r"\bawait ", ""), (r"(?<![\w.])Async(?=[A-Z])", ""), (r"\b__aenter__\b", "__enter__"),
    (r"\b__aexit__\b", "__exit__"), (r"\b__aiter__\b", "__iter__"), (r"\b__anext__\b", "__next__"),
    (r"\bStopAsyncIteration\b", "StopIteration"), (r"\bAwaitable\[(\w+)\]", r"\1"),
    (r"\b_async\b", "_sync"), (r"\bAsyncIterator\b", "Iterator"),
]
# What differs by more than words is written twice: how bytes get to the daemon and back.
BY_HAND = {"connection.py"}
NOTE = "# Written by tools/clients/generate from _async/{}. Do not edit.\n"


def main(source, package):
    (package / "_sync").mkdir(exist_ok=True)
    generated = package / "_async"
    names = {p.name for p in source.glob("*.py")} | {p.name for p in generated.glob("*.py")}
    for name in sorted(names - BY_HAND):
        path = generated / name
        text = (path if path.exists() else source / name).read_text()
        for pattern, replacement in WORDS:
            text = re.sub(pattern, replacement, text)
        if name != "__init__.py":
            text = NOTE.format(name) + re.sub(r'\A"""Written by.*?"""\n', "", text)
        (package / "_sync" / name).write_text(text)


main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
