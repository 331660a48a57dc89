//! Looks up what an upstream's name stands for: anew for every connection, but never twice at a time. getaddrinfo blocks a thread
//! for as long as the machine's resolver takes, and a resolver that hangs must not take a thread for every request that comes
//! meanwhile: those join the look-up that is under way. Each has a thread of its own, so that a name whose resolver hangs keeps
//! neither another name nor a file waiting.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

/// The addresses in the resolver's order.
type Answer = Result<Vec<SocketAddr>, Arc<io::Error>>;
/// getaddrinfo, or what a test puts in its place.
type Resolver = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The look-ups of one host and port.
#[derive(Clone)]
pub(super) struct Lookup(Arc<Inner>);

struct Inner {
    host: Box<str>,
    port: u16,
    resolver: Box<Resolver>,
    /// Who waits for the look-up that is under way; `None` while there is none.
    waiting: Mutex<Option<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    answers: Vec<oneshot::Sender<Answer>>,
    /// How many are to be there before those are sought who have left.
    full: usize,
}

impl Waiting {
    /// Fewest that are looked through.
    const FEW: usize = 64;

    /// Those who have left take no more room than those who are there, and each newcomer costs the same however many wait.
    fn push(&mut self, tell: oneshot::Sender<Answer>) {
        if self.answers.len() >= self.full.max(Self::FEW) {
            self.answers.retain(|other| !other.is_closed());
            self.full = 2 * self.answers.len();
        }
        self.answers.push(tell);
    }
}

impl Lookup {
    /// By the machine's own resolver.
    pub(super) fn new(host: &str, port: u16) -> Self {
        Self::by(host, port, Box::new(|host, port| Ok((host, port).to_socket_addrs()?.collect())))
    }

    pub(super) fn by(host: &str, port: u16, resolver: Box<Resolver>) -> Self {
        Self(Arc::new(Inner { host: host.into(), port, resolver, waiting: Mutex::default() }))
    }

    /// What the host stands for now; an address stands for itself.
    ///
    /// # Errors
    /// Whatever the resolver says.
    pub(super) async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = self.0.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.0.port)]);
        }
        match self.join().await {
            Ok(answer) => answer.map_err(|error| io::Error::new(error.kind(), error.to_string())),
            // The thread that looked is gone.
            Err(_) => Err(io::Error::other("the look-up was given up")),
        }
    }

    fn join(&self) -> oneshot::Receiver<Answer> {
        let (tell, told) = oneshot::channel();
        if self.enter(tell) {
            let under_way = UnderWay { of: Arc::clone(&self.0), answer: None };
            // Not bound to whoever asked first: it goes on for the others when that one's time is over. Where there is no thread to
            // be had, it is dropped, and all of them hear that.
            let _ = thread::Builder::new().name("look-up".into()).spawn(move || under_way.finish());
        }
        told
    }

    /// Whether a look-up is to be ordered, because none is under way.
    fn enter(&self, tell: oneshot::Sender<Answer>) -> bool {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let first = waiting.is_none();
        waiting.get_or_insert_default().push(tell);
        first
    }
}

/// A look-up that has been ordered. When it is over, however it ends, the next request orders another.
struct UnderWay {
    of: Arc<Inner>,
    answer: Option<Answer>,
}

impl UnderWay {
    fn finish(mut self) {
        let answer = (self.of.resolver)(&self.of.host, self.of.port);
        self.answer = Some(answer.map_err(Arc::new));
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let waiting = self.of.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Without an answer they hear that there will be none.
        let Some(answer) = &self.answer else { return };
        for tell in waiting.into_iter().flat_map(|waiting| waiting.answers) {
            let _ = tell.send(answer.clone());
        }
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup")
            .field("host", &self.0.host)
            .field("port", &self.0.port)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const FOUND: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 80);

    /// A look-up that answers what it is told to, and tells when it is asked.
    fn told() -> (Lookup, mpsc::Sender<io::Result<Vec<SocketAddr>>>, mpsc::Receiver<()>) {
        let (answer, answers) = mpsc::channel();
        let (ask, asked) = mpsc::channel();
        let answers = Mutex::new(answers);
        let resolver = move |_: &str, _| {
            ask.send(()).unwrap();
            answers.lock().unwrap().recv().unwrap()
        };
        (Lookup::by("app.test", 80, Box::new(resolver)), answer, asked)
    }

    #[tokio::test]
    async fn whoever_comes_while_a_name_is_looked_up_joins_and_the_next_asks_anew() {
        let (lookup, answer, asked) = told();
        let joined: Vec<_> = (0..1_000).map(|_| lookup.join()).collect();
        answer.send(Ok(vec![FOUND])).unwrap();
        for one in joined {
            assert_eq!(one.await.unwrap().unwrap(), [FOUND]);
        }
        assert_eq!(asked.try_iter().count(), 1);
        answer.send(Err(io::ErrorKind::NotFound.into())).unwrap();
        assert_eq!(lookup.addresses().await.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(asked.try_iter().count(), 1);
    }

    #[tokio::test]
    async fn a_look_up_goes_on_for_the_others_when_who_ordered_it_has_left() {
        let (lookup, answer, asked) = told();
        let (first, second) = (lookup.join(), lookup.join());
        drop(first);
        answer.send(Ok(vec![FOUND])).unwrap();
        assert_eq!(second.await.unwrap().unwrap(), [FOUND]);
        assert_eq!(asked.try_iter().count(), 1);
    }

    #[tokio::test]
    async fn those_who_have_left_a_look_up_that_hangs_take_little_room() {
        let (lookup, answer, asked) = told();
        let stays = lookup.join();
        for _ in 0..10_000 {
            drop(lookup.join());
        }
        let room = lookup.0.waiting.lock().unwrap().as_ref().map(|waiting| waiting.answers.len());
        assert!(room.is_some_and(|room| room <= Waiting::FEW), "{room:?}");
        answer.send(Ok(vec![FOUND])).unwrap();
        assert_eq!(stays.await.unwrap().unwrap(), [FOUND]);
        assert_eq!(asked.try_iter().count(), 1);
    }

    #[tokio::test]
    async fn a_look_up_that_dies_fails_those_who_wait_and_no_later_one() {
        let died = Lookup::by("app.test", 80, Box::new(|_, _| panic!("the resolver died")));
        for _ in 0..2 {
            assert!(died.addresses().await.is_err());
        }
    }

    #[tokio::test]
    async fn an_address_stands_for_itself() {
        let never = |_: &str, _| panic!("nothing to look up");
        for (host, address) in [("127.0.0.1", "127.0.0.1:9"), ("::1", "[::1]:9")] {
            let found = Lookup::by(host, 9, Box::new(never)).addresses().await.unwrap();
            assert_eq!(found, [address.parse::<SocketAddr>().unwrap()]);
        }
    }
}
