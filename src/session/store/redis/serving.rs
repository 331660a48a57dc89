//! One connection's life: what goes over it, what the server reports, and how far the table is filled.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, RedisResult, Value};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;

use super::address::RedisAddress;
use super::link::{Follower, Job, Loop, STRANGE};
use super::reading::{self, Readings};
use super::wire;
use crate::base::clock::Timestamp;
use crate::session::id::StoredId;

/// Longest wait for a connection, and for one answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the server has to prove that it is there.
const PING: Duration = Duration::from_secs(1);
/// Reads on their way at a time.
const MAX_READS: usize = 4;
/// The next page of the fill waits until fewer reads than this are due.
const BACKLOG: usize = 4096;

/// A connection on which changes are tracked.
pub(super) struct Channel {
    connection: MultiplexedConnection,
    pushes: UnboundedReceiver<PushInfo>,
}

impl Channel {
    /// Connects, asks for reports of every change, and reads `not_before`.
    pub(super) async fn open(address: &RedisAddress) -> Result<(Self, Timestamp), String> {
        let (sender, pushes) = unbounded_channel();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_push_sender(sender);
        let open = async {
            let client = Client::open(address.info())?;
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            wire::track().exec_async(&mut connection).await?;
            let moment: Value = wire::read_not_before().query_async(&mut connection).await?;
            RedisResult::Ok((Self { connection, pushes }, reading::moment(&moment)))
        };
        match tokio::time::timeout(PATIENCE * 2, open).await {
            Ok(opened) => opened.map_err(|error| error.to_string()),
            Err(_) => Err("no answer".into()),
        }
    }
}

/// What a task of one connection has brought.
enum Done {
    Read(u16, Vec<StoredId>, RedisResult<Value>),
    Page(RedisResult<Value>),
    NotBefore(RedisResult<Value>),
    Ping(RedisResult<Value>),
    /// A command of the store; the cause when it cost the connection.
    Asked(Option<String>),
}

/// How far the fill of the table is.
#[derive(PartialEq, Eq)]
enum Fill {
    /// Nobody to fill, or done.
    No,
    /// This page is to be asked for.
    Next(u64),
    /// A page is on its way.
    Asked,
    /// All pages are here, their sessions are being read.
    Reading,
    /// What was held and not on any page is being read.
    Checking,
}

/// One connection's life.
pub(super) struct Serving {
    connection: MultiplexedConnection,
    pushes: UnboundedReceiver<PushInfo>,
    tasks: JoinSet<Done>,
    readings: Readings,
    reads: usize,
    fill: Fill,
    /// The server forgot everything while the fill went on: once more from the start.
    fill_again: bool,
    pinging: bool,
    /// When the server last said anything.
    heard: Instant,
}

impl Serving {
    pub(super) fn new(channel: Channel) -> Self {
        let Channel { connection, pushes } = channel;
        Self {
            connection,
            pushes,
            tasks: JoinSet::new(),
            readings: Readings::default(),
            reads: 0,
            fill: Fill::No,
            fill_again: false,
            pinging: false,
            heard: Instant::now(),
        }
    }

    /// Serves until the connection is lost: why, and how long the server had been silent. `None` when the link is closed.
    pub(super) async fn serve(mut self, link: &mut Loop) -> Option<(String, Duration)> {
        let mut ping = tokio::time::interval(PING);
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        if let Some((follower, _)) = &link.follower {
            self.begin(&**follower);
        }
        loop {
            self.send_reads(link);
            self.go_on_filling(link);
            let lost = tokio::select! {
                biased;
                push = self.pushes.recv() => self.hear(push, link),
                Some(done) = self.tasks.join_next() => match done {
                    Ok(done) => self.finish(done, link),
                    Err(error) => Err(error.to_string()),
                },
                job = link.jobs.recv() => match job {
                    None | Some(Job::Close) => return None,
                    Some(job) => { self.take(job, link); Ok(()) }
                },
                _ = ping.tick() => { self.ping(); Ok(()) }
            };
            if let Err(cause) = lost {
                return Some((cause, self.heard.elapsed()));
            }
        }
    }

    fn begin(&mut self, follower: &dyn Follower) {
        follower.connected();
        self.fill = Fill::Next(0);
        self.ask_not_before();
    }

    fn take(&mut self, job: Job, link: &mut Loop) {
        match job {
            Job::Ask(command, reply) => self.spawn(|mut connection| async move {
                let outcome: RedisResult<Value> = command.query_async(&mut connection).await;
                let lost = outcome.as_ref().err().filter(|error| costs_the_connection(error));
                let lost = lost.map(ToString::to_string);
                let _ = reply.send(outcome.map_err(|error| error.to_string()));
                Done::Asked(lost)
            }),
            Job::Fetch(id, waiting) if link.follower.is_some() => self.readings.fetch(id, waiting),
            Job::Attach(follower, filled) => {
                self.begin(&*follower);
                link.follower = Some((follower, Some(filled)));
            }
            Job::Fetch(..) | Job::Close => {}
        }
    }

    fn send_reads(&mut self, link: &Loop) {
        let Some((follower, _)) = &link.follower else { return };
        while self.reads < MAX_READS {
            let ids = self.readings.next_batch();
            if ids.is_empty() {
                return;
            }
            self.reads += 1;
            let epoch = follower.epoch();
            self.spawn(move |mut connection| async move {
                let answer = wire::read(&ids).query_async(&mut connection).await;
                Done::Read(epoch, ids, answer)
            });
        }
    }

    fn go_on_filling(&mut self, link: &mut Loop) {
        let Some((follower, attached)) = &mut link.follower else { return };
        match self.fill {
            Fill::Next(cursor) if self.readings.backlog() < BACKLOG => {
                self.fill = Fill::Asked;
                self.spawn(move |mut connection| async move {
                    Done::Page(wire::page(cursor).query_async(&mut connection).await)
                });
            }
            Fill::Reading if self.readings.filling == 0 => {
                follower.unseen().into_iter().for_each(|id| self.readings.fill(id));
                self.fill = Fill::Checking;
                self.send_reads(link);
                self.go_on_filling(link);
            }
            Fill::Checking if self.readings.filling == 0 && std::mem::take(&mut self.fill_again) => {
                self.fill = Fill::Next(0);
                self.go_on_filling(link);
            }
            Fill::Checking if self.readings.filling == 0 => {
                self.fill = Fill::No;
                follower.filled();
                if let Some(attached) = attached.take() {
                    let _ = attached.send(());
                }
            }
            _ => {}
        }
    }

    /// A message of the server.
    fn hear(&mut self, push: Option<PushInfo>, link: &Loop) -> Result<(), String> {
        let push = push.filter(|push| push.kind != PushKind::Disconnection);
        let Some(push) = push else { return Err("the server has closed the connection".into()) };
        self.heard = Instant::now();
        let Some((follower, _)) = &link.follower else { return Ok(()) };
        if push.kind != PushKind::Invalidate {
            return Ok(());
        }
        match push.data.as_slice() {
            [Value::Array(keys)] => {
                for key in keys {
                    match reading::id_of(key) {
                        Some(id) => {
                            follower.changed(&id);
                            self.readings.changed(id);
                        }
                        None => self.ask_not_before(),
                    }
                }
            }
            // Nothing instead of keys: FLUSHALL, or a message we do not know. Trust nothing.
            _ => {
                follower.all_changed();
                self.readings.all_changed();
                self.fill_again = self.fill != Fill::No;
                if self.fill == Fill::No {
                    self.fill = Fill::Next(0);
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, done: Done, link: &Loop) -> Result<(), String> {
        let follower = link.follower.as_ref().map(|(follower, _)| follower);
        let answer = |outcome: RedisResult<Value>| outcome.map_err(|error| error.to_string());
        match done {
            Done::Read(epoch, ids, outcome) => {
                self.reads -= 1;
                let found = reading::found(answer(outcome)?, &ids).ok_or(STRANGE)?;
                for (id, found) in found {
                    if self.readings.believe(&id) {
                        follower.inspect(|follower| follower.apply(epoch, id, found));
                        self.readings.answered(&id);
                    }
                }
            }
            Done::Page(outcome) => {
                let (next, ids) = reading::page(answer(outcome)?).ok_or(STRANGE)?;
                ids.into_iter().for_each(|id| self.readings.fill(id));
                self.fill = if next == 0 { Fill::Reading } else { Fill::Next(next) };
            }
            Done::NotBefore(outcome) => {
                let moment = reading::moment(&answer(outcome)?);
                follower.inspect(|follower| follower.not_before(moment));
            }
            Done::Ping(outcome) => {
                self.pinging = false;
                answer(outcome)?;
            }
            Done::Asked(Some(cause)) => return Err(cause),
            Done::Asked(None) => {}
        }
        self.heard = Instant::now();
        Ok(())
    }

    fn ping(&mut self) {
        if !std::mem::replace(&mut self.pinging, true) {
            self.spawn(|mut connection| async move {
                Done::Ping(redis::cmd("PING").query_async(&mut connection).await)
            });
        }
    }

    fn ask_not_before(&mut self) {
        self.spawn(|mut connection| async move {
            Done::NotBefore(wire::read_not_before().query_async(&mut connection).await)
        });
    }

    fn spawn<F>(&mut self, task: impl FnOnce(MultiplexedConnection) -> F)
    where
        F: Future<Output = Done> + Send + 'static,
    {
        self.tasks.spawn(task(self.connection.clone()));
    }
}

/// A refusal leaves the connection as it is, unless this server will not take writes any more: another one may.
fn costs_the_connection(error: &redis::RedisError) -> bool {
    matches!(error.code(), None | Some("READONLY" | "LOADING" | "MASTERDOWN" | "NOAUTH"))
}
