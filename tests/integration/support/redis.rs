//! A real redis-server on a port of its own, and a client that is nobody's gateway.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "the unit tests and the tests from outside each use a part of it"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longest wait for anything a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct TestRedis {
    server: Child,
    port: u16,
    password: Option<&'static str>,
}

impl TestRedis {
    pub fn start() -> Self {
        Self::with(None)
    }

    pub fn with_password(password: &'static str) -> Self {
        Self::with(Some(password))
    }

    fn with(password: Option<&'static str>) -> Self {
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            // Somebody else may take the port before the server does.
            if let Some(server) = spawn(port, password) {
                return Self { server, port, password };
            }
        }
        panic!("redis-server does not start");
    }

    pub fn url(&self) -> String {
        match self.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}/0", self.port),
            None => format!("redis://127.0.0.1:{}/0", self.port),
        }
    }

    /// The server is gone, as by a power cut.
    pub fn stop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    /// Starts it again on the same port, empty.
    pub fn start_again(&mut self) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(server) = spawn(self.port, self.password) {
                self.server = server;
                return;
            }
            assert!(Instant::now() < until, "redis-server does not start again");
        }
    }

    /// The server keeps its connections and its data, and says nothing.
    pub fn pause(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    pub fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// Sends one command as a client of its own; answers the reply's bytes as they come.
    pub fn say(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        let reply = String::from_utf8_lossy(&reply).into_owned();
        reply.strip_suffix("+OK\r\n").unwrap_or(&reply).trim_end().to_owned()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.server)
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A server that accepts connections; `None` when it cannot have the port.
fn spawn(port: u16, password: Option<&str>) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
    command.args(["--port", &port.to_string(), "--dir"]).arg(std::env::temp_dir());
    if let Some(password) = password {
        command.args(["--requirepass", password]);
    }
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut server = spawned
        .unwrap_or_else(|error| panic!("redis-server is needed, `scripts/test test` installs it: {error}"));
    let mut said = BufReader::new(server.stdout.take().unwrap());
    let mut line = String::new();
    while said.read_line(&mut line).is_ok_and(|read| read > 0) {
        if line.contains("Ready to accept connections") {
            // It must not block on a full pipe.
            std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
            return Some(server);
        }
        line.clear();
    }
    let _ = server.wait();
    None
}

/// Waits until `done`, which another thread brings about.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "this did not happen: {what}");
        std::thread::yield_now();
    }
}
