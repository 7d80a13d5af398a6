"""A SQLite database in /tmp: insert, index, query, delete.

Event: {"rows": int}. Answer: counts and sums, which follow from the number of rows alone.
"""
import os
import sqlite3
import tempfile


def handler(event, context):
    rows = int(event.get("rows", 1000))
    descriptor, path = tempfile.mkstemp(suffix=".sqlite")
    os.close(descriptor)
    try:
        connection = sqlite3.connect(path)
        with connection:
            connection.execute("create table item (id integer primary key, kind text, value integer)")
            connection.executemany(
                "insert into item values (?, ?, ?)",
                ((i, f"kind{i % 10}", i * i) for i in range(rows)),
            )
            connection.execute("create index by_kind on item (kind)")
        total = connection.execute("select sum(value) from item").fetchone()[0]
        kinds = dict(connection.execute("select kind, count(*) from item group by kind"))
        with connection:
            deleted = connection.execute("delete from item where kind = 'kind3'").rowcount
        left = connection.execute("select count(*) from item").fetchone()[0]
        sound = connection.execute("pragma integrity_check").fetchone()[0]
        connection.close()
    finally:
        os.unlink(path)
    return {"total": total, "kinds": len(kinds), "deleted": deleted, "left": left, "sound": sound}
