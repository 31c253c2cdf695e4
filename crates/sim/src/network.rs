//! A network in virtual time: connections with delays, cuts, slow links and resets.
//!
//! A connection is two pipes. Bytes written to a pipe become readable after the delay of its way;
//! those of one pipe stay in order, as TCP keeps them, while pipes overtake each other. A cut way
//! holds its bytes back until it heals or the connection is given up as a kernel would after
//! [`GIVE_UP`]. Loss, duplication and reordering of whole frames, which TCP itself never does, are
//! a [`Tap`]'s work.
//!
//! Bounds: [`WINDOW_BYTES`] in flight per pipe, as a socket buffer would hold.

mod pipe;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use avid_net::Stream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::random::Random;
use crate::tap::{Tap, Way};
use crate::trace::Trace;

pub use pipe::WINDOW_BYTES;
use pipe::{Pipe, Receiver, Sender};

/// Silence of a cut connection after which both kernels give it up (keepalive).
pub const GIVE_UP: Duration = Duration::from_secs(30);
/// Port of every simulated listener.
const PORT: u16 = 9000;

/// A machine on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u16);

impl HostId {
    /// The address of a host.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        let [high, low] = self.0.to_be_bytes();
        SocketAddr::from((Ipv4Addr::new(10, 0, high, low), PORT))
    }

    fn of(address: SocketAddr) -> Option<Self> {
        let SocketAddr::V4(address) = address else { return None };
        let [_, _, high, low] = address.ip().octets();
        Some(Self(u16::from_be_bytes([high, low])))
    }
}

/// How long bytes take on a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// Least delay.
    pub min: Duration,
    /// Most delay of ordinary bytes.
    pub max: Duration,
    /// One write in a million that takes `tail` instead.
    pub tail_per_million: u32,
    /// The long delay.
    pub tail: Duration,
    /// Bytes per second.
    pub rate: u64,
}

impl Delay {
    /// A local network.
    pub const LAN: Self = Self {
        min: Duration::from_micros(50),
        max: Duration::from_micros(500),
        tail_per_million: 0,
        tail: Duration::ZERO,
        rate: 1 << 30,
    };
}

#[derive(Debug)]
struct State {
    random: Random,
    delay: Delay,
    delays: BTreeMap<(HostId, HostId), Delay>,
    cut: BTreeSet<(HostId, HostId)>,
    /// Hosts that neither send nor receive: their process is stopped.
    frozen: BTreeSet<HostId>,
    listeners: BTreeMap<HostId, mpsc::UnboundedSender<(Stream, SocketAddr)>>,
    pipes: Vec<(Way, std::sync::Weak<Mutex<Pipe>>)>,
    taps: BTreeMap<HostId, Arc<Mutex<dyn Tap>>>,
    /// Sees what every host sends, after its own tap.
    network_tap: Option<Arc<Mutex<dyn Tap>>>,
    /// Woken when a way heals.
    waiting: Vec<Waker>,
    connections: u64,
}

/// The network of one run; clones share it.
#[derive(Clone, Debug)]
pub struct Network {
    state: Arc<Mutex<State>>,
    trace: Trace,
}

impl Network {
    /// A healthy network.
    #[must_use]
    pub fn new(seed: u64, trace: Trace) -> Self {
        let state = State {
            random: Random::new(seed, "network"),
            delay: Delay::LAN,
            delays: BTreeMap::new(),
            cut: BTreeSet::new(),
            frozen: BTreeSet::new(),
            listeners: BTreeMap::new(),
            pipes: Vec::new(),
            taps: BTreeMap::new(),
            network_tap: None,
            waiting: Vec::new(),
            connections: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), trace }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The delay of every way that has none of its own.
    pub fn set_delay(&self, delay: Delay) {
        self.lock().delay = delay;
    }

    /// The delay of one way.
    pub fn set_delay_of(&self, from: HostId, to: HostId, delay: Delay) {
        self.lock().delays.insert((from, to), delay);
    }

    /// Gives every way the common delay again.
    pub fn clear_delays(&self) {
        self.lock().delays.clear();
    }

    /// Lets nothing pass in one direction.
    pub fn cut(&self, from: HostId, to: HostId) {
        self.lock().cut.insert((from, to));
        self.trace.say("cut", u64::from(from.0), || format!("{} -> {}", from.0, to.0));
        self.wake();
    }

    /// Lets everything pass again.
    pub fn heal(&self) {
        self.lock().cut.clear();
        self.trace.event("heal", 0, &[]);
        self.wake();
    }

    /// Stops or continues all traffic of a host.
    pub fn freeze(&self, host: HostId, frozen: bool) {
        let mut state = self.lock();
        if frozen {
            state.frozen.insert(host);
        } else {
            state.frozen.remove(&host);
        }
        drop(state);
        self.wake();
    }

    /// Puts a tap behind everything a host sends.
    pub fn tap(&self, host: HostId, tap: Arc<Mutex<dyn Tap>>) {
        self.lock().taps.insert(host, tap);
    }

    /// Puts a tap behind everything that is sent.
    pub fn tap_all(&self, tap: Arc<Mutex<dyn Tap>>) {
        self.lock().network_tap = Some(tap);
    }

    /// Takes the tap of the network away; those of hosts stay.
    pub fn untap_network(&self) {
        self.lock().network_tap = None;
    }

    /// Takes all taps away.
    pub fn untap(&self) {
        let mut state = self.lock();
        state.taps.clear();
        state.network_tap = None;
    }

    /// Ends every connection of a host at once, as a kernel does for a process that died.
    pub fn reset_host(&self, host: HostId) {
        let mut state = self.lock();
        state.listeners.remove(&host);
        state.reset(|way| way.from == host || way.to == host);
        drop(state);
        self.wake();
    }

    /// Ends the connections between two hosts.
    pub fn reset(&self, one: HostId, other: HostId) {
        let mut state = self.lock();
        state.reset(|way| (way.from, way.to) == (one, other) || (way.from, way.to) == (other, one));
        drop(state);
        self.wake();
    }

    fn wake(&self) {
        let mut state = self.lock();
        let mut wakers = std::mem::take(&mut state.waiting);
        state.pipes.retain(|(_, pipe)| pipe.strong_count() > 0);
        for (_, pipe) in &state.pipes {
            if let Some(pipe) = pipe.upgrade() {
                wakers.extend(pipe.lock().unwrap_or_else(PoisonError::into_inner).wakers());
            }
        }
        drop(state);
        for waker in wakers {
            waker.wake();
        }
    }

    fn passes(&self, from: HostId, to: HostId) -> bool {
        let state = self.lock();
        !state.cut.contains(&(from, to))
            && !state.frozen.contains(&from)
            && !state.frozen.contains(&to)
    }

    /// When bytes written now arrive.
    fn arrival(&self, way: Way, bytes: usize) -> Instant {
        let mut state = self.lock();
        let delay = state.delays.get(&(way.from, way.to)).copied().unwrap_or(state.delay);
        let spread = u64::try_from((delay.max - delay.min).as_micros()).unwrap_or(0);
        let mut total = delay.min + Duration::from_micros(state.random.below(spread + 1));
        if state.random.chance(delay.tail_per_million) {
            total += delay.tail;
        }
        let micros = (bytes as u64).saturating_mul(1_000_000) / delay.rate.max(1);
        Instant::now() + total + Duration::from_micros(micros)
    }

    fn taps(&self, from: HostId) -> Vec<Arc<Mutex<dyn Tap>>> {
        let state = self.lock();
        state.taps.get(&from).into_iter().chain(&state.network_tap).cloned().collect()
    }

    /// Listens on a host; an earlier listener of it is gone.
    pub(crate) fn listen(
        &self,
        host: HostId,
    ) -> io::Result<mpsc::UnboundedReceiver<(Stream, SocketAddr)>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.lock();
        if state.listeners.get(&host).is_some_and(|listener| !listener.is_closed()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        state.listeners.insert(host, sender);
        Ok(receiver)
    }

    /// Connects a host to an address.
    pub(crate) async fn connect(&self, from: HostId, address: SocketAddr) -> io::Result<Stream> {
        let to = HostId::of(address).ok_or(io::ErrorKind::AddrNotAvailable)?;
        self.until_passes(from, to).await;
        self.until_passes(to, from).await;
        let there = Way { from, to, opened_by_sender: true, connection: 0 };
        let round_trip = self.arrival(there, 40);
        tokio::time::sleep_until(round_trip).await;
        let mut state = self.lock();
        state.connections += 1;
        let there = Way { connection: state.connections, ..there };
        let back = Way { from: to, to: from, opened_by_sender: false, ..there };
        let listener = state.listeners.get(&to).cloned().ok_or(io::ErrorKind::ConnectionRefused)?;
        let (mut ends, mut pipes) = (Vec::new(), Vec::new());
        for way in [there, back] {
            let pipe = Arc::new(Mutex::new(Pipe::default()));
            state.pipes.push((way, Arc::downgrade(&pipe)));
            let sender = Sender::new(self.clone(), way, Arc::clone(&pipe), self.trace.clone());
            ends.push((sender, Receiver::new(self.clone(), way, Arc::clone(&pipe))));
            pipes.push(pipe);
        }
        drop(state);
        let (Some((back_sender, back_receiver)), Some((there_sender, there_receiver))) =
            (ends.pop(), ends.pop())
        else {
            return Err(io::ErrorKind::Other.into());
        };
        let far = Stream::Carried(Box::new(there_receiver), Box::new(back_sender));
        let near = Stream::Carried(Box::new(back_receiver), Box::new(there_sender));
        listener.send((far, from.address())).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        self.trace.event("connect", u64::from(from.0), &to.0.to_le_bytes());
        Ok(near)
    }

    /// Waits until a way is open.
    async fn until_passes(&self, from: HostId, to: HostId) {
        std::future::poll_fn(|context| {
            if self.passes(from, to) {
                return std::task::Poll::Ready(());
            }
            self.lock().waiting.push(context.waker().clone());
            std::task::Poll::Pending
        })
        .await;
    }
}

impl State {
    fn reset(&mut self, concerns: impl Fn(&Way) -> bool) {
        for (way, pipe) in &self.pipes {
            if let Some(pipe) = pipe.upgrade().filter(|_| concerns(way)) {
                pipe.lock().unwrap_or_else(PoisonError::into_inner).reset();
            }
        }
    }
}
