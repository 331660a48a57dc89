"""An upstream that reads request bodies as fast as it can, and answers with how many bytes there were: `sink.py PORT`."""

import re
import socket
import sys


def serve(stream):
    """One connection: requests with a Content-Length, one after the other."""
    buffer, room = b"", memoryview(bytearray(1 << 20))
    while True:
        while b"\r\n\r\n" not in buffer:
            piece = stream.recv(65536)
            if not piece:
                return
            buffer += piece
        head, buffer = buffer.split(b"\r\n\r\n", 1)
        length = re.search(rb"(?im)^content-length: *(\d+)", head)
        wanted = int(length[1]) if length else 0
        got, buffer = min(len(buffer), wanted), buffer[wanted:]
        while got < wanted:
            piece = stream.recv_into(room[: min(len(room), wanted - got)])
            if not piece:
                return
            got += piece
        said = str(got).encode()
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said))


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
        while True:
            client, _ = listener.accept()
            with client:
                try:
                    serve(client)
                except OSError as error:
                    print(error, file=sys.stderr, flush=True)
