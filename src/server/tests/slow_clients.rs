//! Clients of HTTP/2 that take their answers slowly: what was answered is not yet taken, and no connection rests before it is.

use std::io::ErrorKind;

use super::*;

const ANSWERS: usize = 100;
/// What a stream may hold of an answer: it is the library's before the client has seen a byte.
const LENGTH: usize = 60_000;
const WIDE: u32 = 1 << 30;

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
    asking(server, "/large", ANSWERS, WIDE, WIDE)
}

/// A client that has asked for `path` so many times, in one breath, and reads nothing yet. Its windows for each stream and for the
/// whole connection have this much room (of the connection, on top of what it has by itself).
fn asking(server: &Running, path: &str, times: usize, of_stream: u32, of_connection: u32) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&server.address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    stream.write_all(&frame(4, 0, 0, &[&[0, 4][..], &of_stream.to_be_bytes()].concat())).unwrap();
    if of_connection > 0 {
        stream.write_all(&more_room(0, of_connection)).unwrap();
    }
    for number in 0..times {
        stream.write_all(&request(number, path)).unwrap();
    }
    stream
}

fn request(number: usize, path: &str) -> Vec<u8> {
    // :method GET, :scheme http, :authority a, :path
    let head =
        [&b"\x82\x86\x01\x01a\x04"[..], &[u8::try_from(path.len()).unwrap()], path.as_bytes()].concat();
    frame(1, 5, id(number), &head)
}

fn reset(number: usize) -> Vec<u8> {
    frame(3, 0, id(number), &8_u32.to_be_bytes())
}

/// The stream of the request with this number, from 0.
fn id(number: usize) -> u32 {
    u32::try_from(2 * number + 1).unwrap()
}

fn more_room(stream: u32, by: u32) -> Vec<u8> {
    frame(8, 0, stream, &by.to_be_bytes())
}

/// Reads to the end of all answers; gives how many bytes of them came.
fn taken(stream: &mut TcpStream) -> usize {
    taken_of(stream, ANSWERS, |_, _| {})
}

/// Reads to the end of so many answers, by whatever; gives how many bytes of them came. `also` gets each piece.
fn taken_of(stream: &mut TcpStream, answers: usize, mut also: impl FnMut(&mut TcpStream, &[u8])) -> usize {
    let (mut bytes, mut ended) = (0, 0);
    while ended < answers {
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
                also(stream, &payload);
            }
            (3, _) => ended += 1,
            (4, 0) => stream.write_all(&frame(4, 1, 0, &[])).unwrap(),
            (6, 0) => stream.write_all(&frame(6, 1, 0, &payload)).unwrap(),
            _ => {}
        }
    }
    bytes
}

/// Reads on until there is a frame of the kind and stream that are sought.
fn read_until(stream: &mut TcpStream, sought: impl Fn(u8, u32) -> bool) {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let mut payload =
            vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).unwrap();
        if sought(head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]])) {
            return;
        }
    }
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

/// What is asked of answers until no more is asked.
fn asked_in_the_end(server: &Running) -> usize {
    let mut last = 0;
    let mut same = 0;
    while same < 100 {
        // All that can run has run when this is answered.
        assert!(server.client().get("/").contains("hello"));
        let now = server.signals.asked.load(Ordering::Relaxed);
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

#[test]
fn of_answers_that_nobody_takes_little_is_asked_for_whatever_the_windows_say() {
    /// What the two sockets hold, whatever the system's limits, is less.
    const SOCKETS: usize = 6 << 20;
    for (of_stream, sockets) in [(WIDE, SOCKETS), (0, 0), (1, 0)] {
        let server = server();
        let _unread = asking(&server, "/endless", ANSWERS, of_stream, WIDE);
        let asked = asked_in_the_end(&server);
        assert!((1..=(2 << 20) + PIECE.len() + sockets).contains(&asked), "{asked} with {of_stream}");
    }
}

#[test]
fn answers_that_had_to_wait_go_on_when_there_is_room_also_after_others_were_reset() {
    let server = server();
    let mut client = asking(&server, "/long", ANSWERS, 0, WIDE);
    for _ in 0..ANSWERS {
        assert!(server.client().get("/").contains("hello"));
    }
    for number in (0..ANSWERS).filter(|number| number % 2 == 0) {
        client.write_all(&reset(number)).unwrap();
    }
    // In small steps for some, at once for others.
    for number in (0..ANSWERS).filter(|number| number % 2 == 1) {
        for by in if number % 4 == 1 { vec![1, 1000, WIDE - 1001] } else { vec![WIDE] } {
            client.write_all(&more_room(id(number), by)).unwrap();
        }
    }
    assert_eq!(taken_of(&mut client, ANSWERS / 2, |_, _| {}), ANSWERS / 2 * 4 * PIECE.len());
}

#[test]
fn streams_that_are_reset_while_they_wait_behind_others_are_not_remembered() {
    /// As many as it takes to hold all that may be held, and all that may be open beside the one that is reset.
    const STANDING: usize = 60;
    const ROUNDS: usize = 500;
    let server = server();
    let mut client = asking(&server, "/endless", STANDING, 0, WIDE);
    for number in STANDING..STANDING + ROUNDS {
        client.write_all(&request(number, "/endless")).unwrap();
        // Its body has been asked when its head is there.
        read_until(&mut client, |kind, stream| kind == 1 && stream == id(number));
        client.write_all(&reset(number)).unwrap();
    }
    // No other test has more streams open at a time than a connection may.
    let crowd = crate::server::outbox::LARGEST_CROWD.load(Ordering::Relaxed);
    assert!((1..=ANSWERS).contains(&crowd), "{crowd} wait");
}

#[test]
fn streams_that_wait_for_their_turn_on_a_slow_connection_are_not_cut() {
    const STREAMS: usize = 30;
    let server = server();
    let mut client = asking(&server, "/long", STREAMS, WIDE, 0);
    let mut room = 65_535;
    let bytes = taken_of(&mut client, STREAMS, |client, piece| {
        room -= piece.len();
        if room == 0 {
            room = 65_536;
            sweep_after(&server, Duration::from_secs(11));
            client.write_all(&more_room(0, 65_536)).unwrap();
        }
    });
    assert_eq!(bytes, STREAMS * 4 * PIECE.len());
}

#[test]
fn a_stream_that_is_not_taken_is_cut_while_its_neighbours_are() {
    let server = server();
    // The first has no room, the others have.
    let mut client = asking(&server, "/endless", 2, 0, WIDE);
    client.write_all(&more_room(id(1), WIDE)).unwrap();
    let mut seen = 0;
    loop {
        let mut head = [0; 9];
        client.read_exact(&mut head).unwrap();
        let mut payload =
            vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
        client.read_exact(&mut payload).unwrap();
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match head[3] {
            3 => {
                assert_eq!(stream, id(0), "the one that is taken was cut");
                break;
            }
            0 => {
                assert_eq!(stream, id(1));
                seen += payload.len();
                if seen > 1 << 20 {
                    seen = 0;
                    sweep_after(&server, Duration::from_secs(11));
                }
            }
            _ => {}
        }
    }
}

#[test]
fn a_client_that_takes_a_byte_now_and_then_keeps_none_of_its_streams_for_that() {
    const STREAMS: usize = 10;
    let server = server();
    let mut client = asking(&server, "/large", STREAMS, 0, WIDE);
    for _ in 0..8 {
        sweep_after(&server, Duration::from_secs(11));
        client.write_all(&more_room(id(0), 1)).unwrap();
    }
    for _ in 0..STREAMS {
        read_until(&mut client, |kind, _| kind == 3);
    }
}

#[test]
fn an_answer_whose_end_is_on_its_way_is_not_kept_by_a_neighbour_that_goes_on() {
    let server = server();
    let mut client = asking(&server, "/hold", 1, 1, 0);
    server.wait_until_held();
    // Of these the client takes a byte each, and their service has nothing more to do.
    for number in 1..=98 {
        client.write_all(&request(number, "/known")).unwrap();
        read_until(&mut client, |kind, stream| kind == 0 && stream == id(number));
    }
    for _ in 0..8 {
        sweep_after(&server, Duration::from_secs(11));
    }
    // Its end may be a reset.
    let ended = client.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
    assert!(!matches!(ended, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "it goes on");
}

#[test]
fn a_connection_whose_answers_are_not_taken_for_want_of_room_ends() {
    let server = server();
    let mut client = asking(&server, "/large", 1, 0, 0);
    let clock = server.clock.clone();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let hours = std::thread::spawn(move || {
        while stopped.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
            clock.advance(Duration::from_secs(61));
        }
    });
    let mut all = Vec::new();
    // Its end may be a reset.
    let _ = client.read_to_end(&mut all);
    drop(stop);
    hours.join().unwrap();
}

#[test]
fn a_connection_that_takes_its_answer_by_small_windows_does_not_rest() {
    let server = server();
    let mut client = asking(&server, "/large", 1, 6000, 0);
    let bytes = taken_of(&mut client, 1, |client, piece| {
        sweep_after(&server, Duration::from_secs(11));
        sweep_after(&server, Duration::from_secs(11));
        // After the last one the connection may rest, and end.
        let _ = client.write_all(&more_room(1, u32::try_from(piece.len()).unwrap()));
    });
    assert_eq!(bytes, LENGTH);
}

#[test]
fn a_fragment_in_a_path_over_http_2_is_gone_before_anybody_reads_the_path() {
    let server = server();
    let mut client = asking(&server, "/target?a#/b?c", 1, WIDE, 0);
    let mut seen = Vec::new();
    taken_of(&mut client, 1, |_, piece| seen.extend_from_slice(piece));
    assert_eq!(String::from_utf8(seen).unwrap(), "http://a/target?a");
}
