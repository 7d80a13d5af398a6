"""Writes the source that holds the dashboard's files: embed.py OUTPUT HTML CSS JS."""
import pathlib
import sys

# What a compiler must take of one literal (C++20, [implimits]).
PIECE = 16000


def literal(data):
    escaped = "".join(chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in data)
    return f'"{escaped}"'


def main(output, *paths):
    parts = ['#include "tools/gateway/dashboard_files.h"\n', "namespace spore::gateway {\n"]
    for name, path in zip(("Html", "Css", "Js"), paths, strict=True):
        data = pathlib.Path(path).read_bytes()
        pieces = "\n    ".join(literal(data[at:at + PIECE]) for at in range(0, len(data), PIECE))
        parts.append(f"const std::string_view kDashboard{name}(\n    {pieces},\n    {len(data)});\n")
    parts.append("}  // namespace spore::gateway\n")
    pathlib.Path(output).write_text("\n".join(parts))


main(*sys.argv[1:])
