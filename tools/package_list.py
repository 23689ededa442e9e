"""This machine's package list, from dpkg's database, as commands of the Redis protocol: SET PACKAGE RECORD."""

import sys

records = open("/var/lib/dpkg/status", encoding="utf-8").read().split("\n\n")
for record in filter(None, (record.strip() for record in records)):
    fields = dict(line.split(": ", 1) for line in record.split("\n") if ": " in line and not line.startswith(" "))
    words = [b"SET", f"{fields['Package']}:{fields.get('Architecture', '')}".encode(), record.encode()]
    sys.stdout.buffer.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
