"""Compression: zlib, bz2 and lzma there and back.

Event: {"bytes": int}. Answer: compressed sizes, and whether each came back unchanged.
"""
import bz2
import lzma
import zlib


def handler(event, context):
    size = int(event.get("bytes", 100000))
    line = b"the quick brown fox jumps over the lazy dog %08d\n"
    data = b"".join(line % i for i in range(size // 50 + 1))[:size]
    answer = {"bytes": len(data)}
    for name, module in (("zlib", zlib), ("bz2", bz2), ("lzma", lzma)):
        packed = module.compress(data)
        answer[name] = {"packed": len(packed), "same": module.decompress(packed) == data}
    return answer
