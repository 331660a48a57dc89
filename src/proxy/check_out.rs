//! How a request comes by a connection: an idle one, a stream on one that is shared, a fresh one, or, where the upstream has all
//! that it may have, the next that comes free.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::proxy::Limits;
use crate::proxy::address::Scheme;
use crate::proxy::connect::{ConnectError, Link, Opened, connect};
use crate::proxy::endpoint::Cap;
use crate::proxy::lane::{Connection, Life, Multiplexed, Speaks, Stream};
use crate::proxy::pool::{Carrier, Lease, Ticket};
use crate::proxy::waiting::{Expired, Wait};

/// What a request needs of its connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need<'a> {
    /// HTTP/1.1, because another protocol may follow.
    pub(super) upgradable: bool,
    pub(super) limits: &'a Limits,
    pub(super) wait: &'a Wait,
}

impl Ticket {
    /// A connection for the request: the one that became idle last, else a shared one, else a new one. And whether it has lain
    /// idle since an earlier sweep: its upstream may be closing it at this moment.
    pub(super) async fn check_out(self, need: Need<'_>) -> Result<(Lease, bool), ConnectError> {
        if need.upgradable || self.lane.speaks.get() != Speaks::Http2 {
            loop {
                // Taken out in a statement of its own, so that no borrow lives across the await.
                let idle = self.lane.idle.borrow_mut().pop();
                let Some(idle) = idle else { break };
                let sender = &idle.connection.sender;
                let rested = idle.since != self.lane.shared.now.get();
                if rested || !sender.is_ready() {
                    // It may have died unseen. Yielding lets the runtime look at its sockets once and run the driver.
                    tokio::task::yield_now().await;
                }
                if sender.is_ready() && !sender.is_closed() {
                    return Ok((self.reusing(Carrier::Http1(idle.connection)), rested));
                }
            }
        }
        // Boxed: it is rare, and would make the future of every request larger.
        Box::pin(self.check_out_another(need)).await.map(|lease| (lease, false))
    }

    /// A connection that nothing was sent on yet, or a stream on one that is shared.
    pub(super) async fn check_out_another(self, need: Need<'_>) -> Result<Lease, ConnectError> {
        let endpoint = Arc::clone(&self.lane.endpoint);
        let permit = match &endpoint.cap {
            None => None,
            Some(cap) => match self.permit(cap, need).await? {
                Granted::Permit(permit) => Some(permit),
                Granted::Connection(connection) => {
                    return Ok(self.reusing(Carrier::Http1(connection)));
                }
            },
        };
        let shareable = !need.upgradable
            && match endpoint.address.scheme {
                Scheme::Http => false,
                Scheme::H2c => true,
                Scheme::Https => self.lane.speaks.get() != Speaks::Http1,
            };
        if shareable { self.share(permit, need).await } else { self.open(permit, need).await }
    }

    fn reusing(self, carrier: Carrier) -> Lease {
        self.lane.reused.set(self.lane.reused.get() + 1);
        self.lane.shared.count(|c| c.reused += 1);
        Lease { carrier, ticket: self }
    }

    /// A stream on a connection with room; where there is none, one request opens it and the others wait for that.
    async fn share(
        self,
        permit: Option<OwnedSemaphorePermit>,
        need: Need<'_>,
    ) -> Result<Lease, ConnectError> {
        if let Some(shared) = self.lane.with_room() {
            let stream = Stream::new(shared, permit, self.idle_timeout);
            return Ok(self.reusing(Carrier::Http2(stream)));
        }
        let failed = self.lane.failed.get();
        let lane = Rc::clone(&self.lane);
        let turn = whole_request_or(need.wait, lane.opening.lock()).await?;
        if let Some(shared) = lane.with_room() {
            let stream = Stream::new(shared, permit, self.idle_timeout);
            return Ok(self.reusing(Carrier::Http2(stream)));
        }
        if lane.failed.get() != failed {
            return Err(ConnectError::Io(io::Error::other("the connection that was waited for failed")));
        }
        if lane.speaks.get() == Speaks::Http1 {
            drop(turn);
        }
        self.open(permit, need).await.inspect_err(|error| {
            // Who has more time than this request had may still succeed.
            if !matches!(error, ConnectError::WholeRequest) {
                lane.failed.set(lane.failed.get() + 1);
            }
        })
    }

    async fn open(self, permit: Option<OwnedSemaphorePermit>, need: Need<'_>) -> Result<Lease, ConnectError> {
        let (lane, limits) = (&self.lane, need.limits);
        let generation = lane.endpoint.generation.load(Ordering::Acquire);
        let connecting = connect(&lane.endpoint, need.upgradable, limits.connect_timeout);
        let Opened { link, driver, peer } = whole_request_or(need.wait, connecting).await??;
        lane.shared.count(|c| c.opened += 1);
        let until = lane.shared.now.get() + limits.max_lifetime;
        let carrier = match link {
            Link::Http1(sender) => {
                if !need.upgradable {
                    lane.speaks.set(Speaks::Http1);
                }
                let life = Life::new(&lane.endpoint, (peer, generation), until, permit);
                Carrier::Http1(Box::new(Connection { sender, driver, life }))
            }
            Link::Http2(sender, most) => {
                lane.speaks.set(Speaks::Http2);
                // The bound is on requests here: the connection itself takes no place.
                let life = Life::new(&lane.endpoint, (peer, generation), until, None);
                let shared = Multiplexed::new(sender, most, life, &lane.shared);
                lane.multiplexed.borrow_mut().push(shared.clone());
                Carrier::Http2(Stream::new(shared, permit, self.idle_timeout))
            }
        };
        Ok(Lease { carrier, ticket: self })
    }

    /// A place among the connections that the upstream may have, or one of them that another request needs no more.
    async fn permit(&self, cap: &Cap, need: Need<'_>) -> Result<Granted, ConnectError> {
        if let Ok(permit) = cap.permits.clone().try_acquire_owned() {
            return Ok(Granted::Permit(permit));
        }
        // One of HTTP/1.1 that an upgrade has left holds a place, and may lie idle where requests go by HTTP/2.
        let idle = self.lane.idle.borrow_mut().pop();
        if let Some(idle) = idle.filter(|idle| idle.connection.sender.is_ready()) {
            return Ok(Granted::Connection(idle.connection));
        }
        let queued = Queued::enter(&cap.waiting);
        if queued.place > need.limits.queue {
            return Err(ConnectError::Busy);
        }
        let (hand_over, mut handed) = oneshot::channel();
        {
            let mut queue = self.lane.queue.borrow_mut();
            // Those who have left take no room.
            queue.retain(|waiting| !waiting.is_closed());
            queue.push_back(hand_over);
        }
        need.wait.expect(need.limits.queue_timeout);
        let mut permit = pin!(cap.permits.clone().acquire_owned());
        let granted = poll_fn(|cx| {
            if let Poll::Ready(Ok(connection)) = pin!(&mut handed).poll(cx) {
                return Poll::Ready(Ok(Granted::Connection(connection)));
            }
            if let Poll::Ready(permit) = permit.as_mut().poll(cx) {
                return Poll::Ready(permit.map(Granted::Permit).map_err(|_| ConnectError::Busy));
            }
            need.wait.poll_expired(cx).map(|expired| match expired {
                Expired::Pause => Err(ConnectError::Busy),
                Expired::Whole => Err(ConnectError::WholeRequest),
            })
        })
        .await;
        need.wait.expect_nothing();
        granted
    }
}

/// What `comes`, unless the request's own time is over before. It has a limit of its own, so no other counts meanwhile.
async fn whole_request_or<T>(wait: &Wait, comes: impl Future<Output = T>) -> Result<T, ConnectError> {
    wait.expect_nothing();
    let mut comes = pin!(comes);
    poll_fn(|cx| match comes.as_mut().poll(cx) {
        Poll::Ready(come) => Poll::Ready(Ok(come)),
        Poll::Pending => wait.poll_expired(cx).map(|_| Err(ConnectError::WholeRequest)),
    })
    .await
}

enum Granted {
    Permit(OwnedSemaphorePermit),
    Connection(Box<Connection>),
}

/// A request's place in an upstream's queue.
struct Queued<'a> {
    waiting: &'a AtomicUsize,
    place: usize,
}

impl<'a> Queued<'a> {
    fn enter(waiting: &'a AtomicUsize) -> Self {
        Self { place: waiting.fetch_add(1, Ordering::Relaxed) + 1, waiting }
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
