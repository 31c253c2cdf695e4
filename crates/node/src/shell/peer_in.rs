//! A link that a peer dialled: takes its changes and heartbeats, pulls what is missing.
//!
//! ```text
//! NEWS votes      ─► verify ─► machines
//! NEWS committed  ─► settled here? else PULL after a moment ─► PULLED proof ─► verify ─► machine
//! NEWS deleted    ─► verify owner's signature ─► tombstone
//! ```
//! Usually every node delivers by itself within milliseconds, so the proof is pulled only by a
//! node that missed something.
//!
//! Spec: docs/protocol.md LINK-1, COMMIT-1, TALLY-1.
//! Bounds: `WANTED_MAX` uploads waiting to be pulled per link.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use avid_net::{Connection, FrameReader, FrameWriter, LinkError};
use avid_protocol::certificate::QuorumCert;
use avid_protocol::clock::SignedHeartbeat;
use avid_protocol::object::OwnerOrder;
use avid_protocol::verify::VerifyError;
use avid_protocol::vote::SignedVote;
use avid_protocol::wire::{FRAME_VERSION, Message, News, Pulled};
use avid_types::{NodeId, UploadId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::core::Event;
use crate::shell::engine::Command;
use crate::shell::peers::PeerHello;
use crate::shell::{Shared, lookup};

/// How long to wait for one's own delivery before pulling the proof.
const PULL_AFTER: Duration = Duration::from_millis(150);
/// Pause before an unanswered pull is repeated.
const PULL_AGAIN: Duration = Duration::from_secs(2);
/// How often a link with nothing to pull looks whether its peer is still there.
const IDLE_TICK: Duration = Duration::from_secs(1);
/// Uploads waiting to be pulled; beyond, the link ends and begins anew from its cursor.
const WANTED_MAX: usize = 4096;
/// Tombstones of uploads unknown here that one link may bring.
const UNKNOWN_TOMBSTONES_MAX: u64 = 1 << 20;
/// A peer sends a heartbeat every two seconds; this much silence means it is gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);

pub(crate) async fn serve(shared: &Shared, connection: Connection) -> Result<(), LinkError> {
    let (peer, mut reader, mut writer) = connection.split();
    let Some(node) = shared.cluster.node_of_transport_key(&peer.key()) else {
        return Ok(());
    };
    let Some(hello) = PeerHello::decode(&peer.hello.payload) else {
        return Ok(());
    };
    {
        let mut peers = shared.peers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        peers.begin(node, hello.store);
    }
    let mut link =
        PeerIn { shared, node, wanted: BTreeMap::new(), unknown_tombstones: 0, overflowed: false };
    link.on_message(Message::Heartbeat(hello.heartbeat)).await;
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            () = shared.stop.stopped() => return Ok(()),
            header = reader.next_header() => {
                let Some(header) = header? else { return Ok(()) };
                heard = Instant::now();
                if let Some(message) = read(&mut reader, header, node).await? {
                    link.on_message(message).await;
                }
            }
            () = tokio::time::sleep_until(link.next_pull()) => {
                if heard.elapsed() > SILENCE_MAX {
                    return Err(LinkError::Silent { doing: "waiting for a peer", limit: SILENCE_MAX });
                }
                if !link.pull(&mut writer).await? {
                    return Ok(());
                }
            }
        }
    }
}

async fn read(
    reader: &mut FrameReader,
    header: avid_net::FrameHeader,
    node: NodeId,
) -> Result<Option<Message>, LinkError> {
    let body = avid_net::within(SILENCE_MAX, "reading from a peer", reader.read_body()).await?;
    match Message::from_body(header.kind, header.version, &body) {
        Ok(message) => Ok(Some(message)),
        Err(error) => {
            tracing::warn!(%node, kind = header.kind, %error, "peer sent a malformed message");
            Ok(None)
        }
    }
}

struct PeerIn<'a> {
    shared: &'a Shared,
    node: NodeId,
    wanted: BTreeMap<UploadId, Instant>,
    unknown_tombstones: u64,
    /// More changes came than could be kept.
    overflowed: bool,
}

impl PeerIn<'_> {
    fn remember(&self, heartbeat: SignedHeartbeat) {
        let mut peers = self.shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.remember(heartbeat);
    }

    async fn on_message(&mut self, message: Message) {
        match message {
            Message::Heartbeat(heartbeat) => {
                if heartbeat.heartbeat.node == self.node && heartbeat.verifies(&self.shared.cluster)
                {
                    // Told back from memory at once; it goes to disk every few seconds.
                    self.remember(heartbeat);
                    self.event(Event::Heartbeat(heartbeat)).await;
                }
            }
            Message::News { position, upload, news } => self.on_news(position, upload, news).await,
            Message::Pulled { upload, pulled } => self.on_pulled(upload, pulled).await,
            // For clients, or the answers this side never asks for.
            Message::Head { .. }
            | Message::Open { .. }
            | Message::Seal { .. }
            | Message::GetFrag { .. }
            | Message::Commit(_)
            | Message::Order(_)
            | Message::List { .. }
            | Message::Stat { .. }
            | Message::Status
            | Message::Fill(_)
            | Message::HeadAnswer(_)
            | Message::Opened(_)
            | Message::Vote { .. }
            | Message::ListAnswer(_)
            | Message::StatusAnswer(_)
            | Message::Refused(_)
            | Message::Pull(_) => {
                tracing::debug!(node = %self.node, kind = message.kind(), "message ignored");
            }
        }
    }

    /// Waits until the effects are durable: the cursor may pass only then.
    async fn event(&self, event: Event) {
        let (answer, done) = oneshot::channel();
        if self.shared.commands.send(Command::Event(event, Some(answer))).await.is_ok() {
            drop(done.await);
        }
    }

    /// Hands an event over without waiting; the order is kept.
    async fn post(&self, event: Event) {
        drop(self.shared.commands.send(Command::Event(event, None)).await);
    }

    async fn on_news(&mut self, position: u64, upload: UploadId, news: News) {
        // Behind a change that could not be kept, the cursor must not move: the link begins anew.
        if self.overflowed || self.shared.cluster.slot_of(upload, self.node).is_none() {
            return;
        }
        let committed_there = matches!(news, News::Committed);
        match news {
            News::Votes { votes, echo_cert } => self.on_votes(upload, votes, echo_cert).await,
            News::Committed => {}
            News::Aborted(cert) => {
                if let Some(cert) = self.checked(self.shared.verify(|v| v.abort_cert(cert))) {
                    self.event(Event::AbortCert(Box::new(cert))).await;
                }
            }
            News::Deleted(order) => self.on_deleted(order).await,
        }
        // Looked at under the lock: the engine settles uploads in the index first, here second.
        let mut peers = self.shared.peers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let settled = lookup::is_settled(&self.shared.store, upload);
        let wanted = !settled && committed_there;
        if wanted && self.wanted.len() >= WANTED_MAX && !self.wanted.contains_key(&upload) {
            self.overflowed = true;
            return;
        }
        if wanted {
            self.wanted.entry(upload).or_insert_with(|| Instant::now() + PULL_AFTER);
        }
        self.overflowed = !peers.processed(self.node, position, upload, settled);
    }

    async fn on_votes(
        &self,
        upload: UploadId,
        votes: Vec<SignedVote>,
        echo_cert: Option<QuorumCert>,
    ) {
        let cert =
            echo_cert.and_then(|cert| self.checked(self.shared.verify(|v| v.echo_cert(cert))));
        let mut verified = Vec::with_capacity(votes.len());
        for vote in votes {
            let Some(vote) = self.checked(self.shared.verify(|v| v.vote(vote))) else {
                return;
            };
            // A peer tells its own votes only: one vote per authenticated node.
            if vote.signer() == self.node && vote.statement().upload == upload {
                verified.push(vote);
            }
        }
        self.post(Event::Votes(verified, cert)).await;
    }

    async fn on_deleted(&mut self, order: OwnerOrder) {
        let upload = order.object.upload(&self.shared.cluster);
        if lookup::record(&self.shared.store, upload).ok().flatten().is_none() {
            // A liar can invent owners; honest peers pass on what admitted owners deleted.
            self.unknown_tombstones += 1;
            if self.unknown_tombstones > UNKNOWN_TOMBSTONES_MAX {
                tracing::warn!(node = %self.node, "too many tombstones of unknown uploads");
                return;
            }
        }
        match order.verify(&self.shared.cluster) {
            Ok(order) => self.event(Event::Order(Box::new(order))).await,
            Err(error) => tracing::warn!(node = %self.node, %error, "peer sent a bad tombstone"),
        }
    }

    async fn on_pulled(&mut self, upload: UploadId, pulled: Pulled) {
        match pulled {
            Pulled::Nothing => drop(self.wanted.remove(&upload)),
            Pulled::Committed(proof) => {
                if let Some(commit) = self.checked(self.shared.verify(|v| v.commit(*proof)))
                    && commit.upload() == upload
                {
                    self.event(Event::Commit(Box::new(commit))).await;
                }
            }
            Pulled::Sealed(seal) => {
                if let Ok(seal) = seal.verify(&self.shared.cluster)
                    && seal.upload() == upload
                {
                    self.event(Event::Seal(Box::new(seal))).await;
                }
            }
        }
    }

    fn checked<T>(&self, result: Result<T, VerifyError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::warn!(node = %self.node, %error, "peer sent what does not verify");
                None
            }
        }
    }

    /// When something is due, or an idle moment later.
    fn next_pull(&self) -> Instant {
        let idle = Instant::now() + IDLE_TICK;
        self.wanted.values().min().map_or(idle, |due| idle.min(*due))
    }

    /// Asks for what is due; false when the link should begin anew from its cursor.
    async fn pull(&mut self, writer: &mut FrameWriter) -> Result<bool, LinkError> {
        let now = Instant::now();
        let store = &self.shared.store;
        self.wanted.retain(|upload, due| *due > now || !lookup::is_settled(store, *upload));
        for (upload, due) in &mut self.wanted {
            if *due > now {
                continue;
            }
            *due = now + PULL_AGAIN;
            let message = Message::Pull(*upload);
            writer.write_frame(message.kind(), FRAME_VERSION, &[&message.to_body()]).await?;
        }
        avid_net::within(SILENCE_MAX, "sending to a peer", writer.flush()).await?;
        Ok(!self.overflowed || !self.wanted.is_empty())
    }
}
