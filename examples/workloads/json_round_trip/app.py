"""JSON: builds a document, writes and reads it `rounds` times.

Event: {"entries": int, "rounds": int}. Answer: its length and whether it came back the same.
"""
import json


def handler(event, context):
    entries = int(event.get("entries", 1000))
    document = {
        "entries": [
            {"id": i, "name": f"näme {i}", "tags": ["a", "b\n", None, True], "weight": i / 7.0}
            for i in range(entries)
        ]
    }
    text, same = "", True
    for _ in range(int(event.get("rounds", 5))):
        text = json.dumps(document, ensure_ascii=False, sort_keys=True)
        same = same and json.loads(text) == document
    return {"length": len(text), "same": same}
