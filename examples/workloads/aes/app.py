"""AES in pure Python (python3-pyaes), counter mode.

Event: {"length": int, "rounds": int}. Answer: the ciphertext's SHA-256 and whether it decrypts.
"""
import hashlib

import pyaes

KEY = b"\x35\xd7\xaa\xa3\xa7\x0f\x3c\x4e\x82\xb6\x96\x1d\x12\x7f\xf5\x20"


def handler(event, context):
    length = int(event.get("length", 1000))
    rounds = int(event.get("rounds", 1))
    message = bytes(i % 251 for i in range(length))
    ciphertext, correct = b"", True
    for _ in range(rounds):
        ciphertext = pyaes.AESModeOfOperationCTR(KEY).encrypt(message)
        correct = correct and pyaes.AESModeOfOperationCTR(KEY).decrypt(ciphertext) == message
    return {
        "length": len(ciphertext),
        "sha256": hashlib.sha256(ciphertext).hexdigest(),
        "correct": correct,
    }
