//! Clients of HTTP/2 that take their answers slowly: what was answered is not yet taken, and no connection rests before it is.

use super::*;

const ANSWERS: usize = 100;
/// What a stream may hold of an answer: it is the library's before the client has seen a byte.
const LENGTH: usize = 60_000;
const WINDOW: [u8; 4] = (1_u32 << 30).to_be_bytes();

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn server() -> Running {
    let mut settings = settings(1);
    settings.limits.idle = Duration::from_secs(5);
    for listener in &mut settings.listen {
        listener.h2c = true;
    }
    Running::with(&settings, None)
}

/// A client that has room for all answers, and reads nothing of them.
fn client_that_reads_nothing_yet(server: &Running) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&server.address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let stream_window = [&[0, 4][..], &WINDOW].concat();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    stream.write_all(&[frame(4, 0, 0, &stream_window), frame(8, 0, 0, &WINDOW)].concat()).unwrap();
    for number in 0..u32::try_from(ANSWERS).unwrap() {
        // :method GET, :scheme http, :authority a, :path /large
        let head = [&b"\x82\x86\x01\x01a\x04\x06"[..], b"/large"].concat();
        stream.write_all(&frame(1, 5, 2 * number + 1, &head)).unwrap();
    }
    stream
}

/// Reads to the last answer's end; gives how many bytes of them came.
fn taken(stream: &mut TcpStream) -> usize {
    let (mut bytes, mut ended) = (0, 0);
    while ended < ANSWERS {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            break;
        }
        let mut payload =
            vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
        if stream.read_exact(&mut payload).is_err() {
            break;
        }
        match (head[3], head[4]) {
            (0, flags) => {
                bytes += payload.len();
                ended += usize::from(flags & 1);
            }
            (4, 0) => stream.write_all(&frame(4, 1, 0, &[])).unwrap(),
            (6, 0) => stream.write_all(&frame(6, 1, 0, &payload)).unwrap(),
            _ => {}
        }
    }
    bytes
}

/// Returns when a sweep has judged all connections by a time `span` later.
fn sweep_after(server: &Running, span: Duration) {
    let mut idle = server.client();
    idle.get("/");
    server.clock.advance(span);
    idle.rest();
}

#[test]
fn a_client_that_takes_its_answers_slowly_gets_all_of_them_however_short_the_idle_time_is() {
    let server = server();
    let mut slow = client_that_reads_nothing_yet(&server);
    for _ in 0..ANSWERS {
        assert!(server.client().get("/").contains("hello"));
    }
    for _ in 0..4 {
        sweep_after(&server, Duration::from_secs(11));
    }
    assert_eq!(taken(&mut slow), ANSWERS * LENGTH);
}

#[test]
fn a_drain_waits_until_a_slow_client_has_taken_what_was_answered() {
    let server = server();
    let mut slow = client_that_reads_nothing_yet(&server);
    for _ in 0..ANSWERS {
        assert!(server.client().get("/").contains("hello"));
    }
    let clock = server.clock.clone();
    let mut idle = server.client();
    idle.get("/");
    let draining = std::thread::spawn(move || server.drain(Duration::from_secs(20)));
    // Told to finish, as the other one was in the same breath.
    idle.rest();
    clock.advance(Duration::from_secs(40));
    assert_eq!(taken(&mut slow), ANSWERS * LENGTH);
    drop(slow);
    assert_eq!(draining.join().unwrap().cut, 0);
}
