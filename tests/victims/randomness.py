"""Draws from every source of randomness that Python programs use."""
import os
import random
import secrets
import ssl
import tempfile
import uuid


def run(event):
    drawn = {
        "random": random.getrandbits(128),
        "random instance": random.Random().getrandbits(128),
        "system random": random.SystemRandom().getrandbits(128),
        "shuffle": random.sample(range(1 << 30), 4),
        "secrets": secrets.token_hex(16),
        "uuid4": str(uuid.uuid4()),
        "uuid1": str(uuid.uuid1()),
        "ssl": ssl.RAND_bytes(16).hex(),
        "urandom": os.urandom(16).hex(),
        "getrandom": os.getrandom(16).hex(),
        "temporary name": next(tempfile._get_candidate_names()),
        "temporary file": tempfile.mkstemp()[1],
    }
    if event.get("numpy"):
        import numpy
        drawn["numpy legacy"] = int(numpy.random.randint(1 << 62))
        drawn["numpy legacy double"] = float(numpy.random.random())
        drawn["numpy generator"] = int(numpy.random.default_rng().integers(1 << 62))
        drawn["numpy state"] = [int(x) for x in numpy.random.get_state()[1][:4]]
    auxiliary = open("/proc/self/auxv", "rb").read() if event.get("auxv") else b""
    return {"drawn": drawn, "hash": hash("spore"), "auxv": auxiliary.hex(),
            "threads": len(os.listdir("/proc/self/task"))}
