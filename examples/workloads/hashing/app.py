"""Hashes and UUIDs.

Event: {"rounds": int}. Answer: a SHA-256 chain's end, a BLAKE2 digest, a name-based UUID, and
whether `rounds` random UUIDs were all different.
"""
import hashlib
import uuid


def handler(event, context):
    rounds = int(event.get("rounds", 1000))
    chain = b"spore"
    for _ in range(rounds):
        chain = hashlib.sha256(chain).digest()
    return {
        "sha256": chain.hex(),
        "blake2b": hashlib.blake2b(chain).hexdigest()[:32],
        "uuid5": str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{rounds}.example")),
        "distinct": len({uuid.uuid4() for _ in range(rounds)}) == rounds,
    }
