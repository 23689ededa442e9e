"""A line between two nodes that can be cut: datagrams that come to a port of loopback go on to HOST:PORT, and the answers back.

    relay.py HOST:PORT   prints its own HOST:PORT

SIGUSR1 cuts the line: what comes is dropped without a word, as a broken line does it. SIGUSR2 mends it.
"""

import collections
import select
import signal
import socket
import sys

DIALERS_MAX = 64


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    near.bind(("127.0.0.1", 0))
    carries = True

    def cut(*_):
        nonlocal carries
        carries = False

    def mend(*_):
        nonlocal carries
        carries = True

    signal.signal(signal.SIGUSR1, cut)
    signal.signal(signal.SIGUSR2, mend)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"127.0.0.1:{near.getsockname()[1]}", flush=True)
    to_source = collections.OrderedDict()  # a socket for each address that dialed, the latest last
    dialer_of = {}
    while True:
        ready, _, _ = select.select([near, *dialer_of], [], [])
        for one in ready:
            try:
                datagram, sender = one.recvfrom(65536)
            except OSError:
                continue  # nothing listens there: QUIC finds that out by itself
            if not carries:
                continue
            if one is not near:
                near.sendto(datagram, dialer_of[one])
                continue
            if sender not in to_source:
                if len(to_source) == DIALERS_MAX:
                    oldest = to_source.popitem(last=False)[1]
                    del dialer_of[oldest]
                    oldest.close()
                made = to_source[sender] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
                made.connect((host, int(port)))
                dialer_of[made] = sender
            try:
                to_source[sender].send(datagram)
            except OSError:
                continue


if __name__ == "__main__":
    main()
