"""A gRPC server on grpcio, without generated code: messages are bytes. Arguments: port, and certificate and key for TLS."""

import pathlib
import sys
import time
from concurrent import futures

import grpc


def say(text):
    print(text, flush=True)


def metadata(context):
    return dict(context.invocation_metadata())


def echo(request, context):
    """The message, whom the gateway names in the trailers, and any `-bin` metadata back."""
    given = metadata(context)
    context.send_initial_metadata((("x-initial", "first"),))
    context.set_trailing_metadata(
        (("x-user", given.get("remote-user", "-")), ("x-bytes-bin", given.get("x-bytes-bin", b"")), ("x-peer", context.peer()))
    )
    return request


def fail(request, context):
    context.set_trailing_metadata((("x-why", "asked to"),))
    code = next(code for code in grpc.StatusCode if code.name == request.decode())
    context.abort(code, "why: 100 % – naïve")


def count(request, context):
    for number in range(int(request)):
        yield b"%d" % number
    context.set_trailing_metadata((("x-count", request.decode()),))


def count_and_fail(request, context):
    for number in range(int(request)):
        yield b"%d" % number
    context.abort(grpc.StatusCode.DATA_LOSS, "in mid-stream")


def total(requests, _):
    number = size = 0
    for message in requests:
        number, size = number + 1, size + len(message)
    return b"%d %d" % (number, size)


def talk(requests, _):
    for message in requests:
        yield b"re: " + message


def sleep(request, context):
    """Never answers; says how it ended and how much time it was given."""
    context.add_callback(lambda: say(f"ended {request.decode()}"))
    say(f"began {request.decode()} {context.time_remaining():.1f}" if context.time_remaining() else f"began {request.decode()}")
    while context.is_active():
        time.sleep(0.01)
    return b""


def tick(request, context):
    """One message every 50 ms until nobody wants it any more."""
    while context.is_active():
        yield request
        time.sleep(0.05)


HANDLERS = {
    "Echo": grpc.unary_unary_rpc_method_handler(echo),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Sleep": grpc.unary_unary_rpc_method_handler(sleep),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "CountAndFail": grpc.unary_stream_rpc_method_handler(count_and_fail),
    "Tick": grpc.unary_stream_rpc_method_handler(tick),
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Talk": grpc.stream_stream_rpc_method_handler(talk),
}
UNBOUNDED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def main(port, certificate=None, key=None):
    server = grpc.server(futures.ThreadPoolExecutor(64), options=UNBOUNDED)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Peer", HANDLERS),))
    if certificate:
        pair = (pathlib.Path(key).read_bytes(), pathlib.Path(certificate).read_bytes())
        server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([pair]))
    else:
        server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
