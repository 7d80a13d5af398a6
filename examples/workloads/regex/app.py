"""Regular expressions over generated log lines.

Event: {"lines": int}. Answer: how many lines matched each pattern, and how many distinct addresses.
"""
import re

LINE = re.compile(
    r'^(?P<address>\d{1,3}(?:\.\d{1,3}){3}) - - \[(?P<time>[^\]]+)\] '
    r'"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/[\d.]+" (?P<status>\d{3}) (?P<bytes>\d+|-)$',
    re.MULTILINE,
)
SERVER_ERROR = re.compile(r'" 5\d\d ')


def handler(event, context):
    count = int(event.get("lines", 1000))
    text = "\n".join(
        f'10.0.{i % 256}.{i * 7 % 256} - - [10/Oct/2000:13:55:{i % 60:02d} +0000] '
        f'"{"POST" if i % 5 == 0 else "GET"} /page/{i} HTTP/1.1" {503 if i % 20 == 0 else 200} {i}'
        for i in range(count)
    )
    matches = list(LINE.finditer(text))
    return {
        "matched": len(matches),
        "posts": sum(match["method"] == "POST" for match in matches),
        "server_errors": len(SERVER_ERROR.findall(text)),
        "addresses": len({match["address"] for match in matches}),
        "masked": re.sub(r"\d", "#", text[:9]),
    }
