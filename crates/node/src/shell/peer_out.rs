//! The link this node dials to one peer: tells changes and heartbeats, answers PULL.
//!
//! The peer says in the handshake from where on it wants changes; from there this link walks the
//! index in order of last change. Nothing queues up for a peer that is away.
//!
//! Spec: docs/protocol.md LINK-1, COMMIT-1, AMNESIA-1.
//! Bounds: one page of `PAGE` changes in memory per link.

use std::sync::Arc;
use std::time::Duration;

use avid_net::{
    Connection, DialTarget, DialTimeouts, FrameReader, FrameWriter, Host, LinkError, PeerLink,
};
use avid_protocol::record::Phase;
use avid_protocol::wire::{FRAME_VERSION, Message, Pulled, kind};
use avid_types::{MemberConfig, NodeId, UploadId};
use tokio::sync::oneshot;

use crate::core::Event;
use crate::shell::engine::{Command, NewsPage};
use crate::shell::peers::{PeerHello, PeerWelcome};
use crate::shell::{HEARTBEAT, Shared, lookup};

/// Changes per page: at most a few hundred KiB with certificates of a large group.
const PAGE: usize = 64;
/// A peer that neither takes nor sends anything for this long is dialled anew.
const SILENCE_MAX: Duration = Duration::from_secs(30);

pub(crate) async fn run(shared: Arc<Shared>, peer: NodeId, member: MemberConfig) {
    let target = DialTarget { addresses: vec![member.address], key: member.transport_key };
    let link = PeerLink::new(Arc::clone(&shared.host), target, DialTimeouts::default());
    shared
        .links
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .push((peer, link.status()));
    let stop = shared.stop.clone();
    let hello = Arc::clone(&shared);
    let local = move || {
        let hello_bytes =
            PeerHello { store: hello.store_name(), heartbeat: hello.heartbeat() }.to_bytes();
        hello.local(hello_bytes)
    };
    let serve = |connection| serve(Arc::clone(&shared), peer, connection);
    let host = Arc::clone(&shared.host);
    link.run(stop, local, move || jitter(&host), serve).await;
}

fn jitter(host: &Host) -> u32 {
    let mut bytes = [0; 4];
    // Without randomness the pauses are merely equal.
    if host.random(&mut bytes).is_err() {
        return 0;
    }
    u32::from_le_bytes(bytes)
}

async fn serve(shared: Arc<Shared>, peer: NodeId, connection: Connection) -> Result<(), LinkError> {
    let (who, mut reader, mut writer) = connection.split();
    let Some(welcome) = PeerWelcome::decode(&who.accepted) else {
        tracing::warn!(%peer, "peer sent a malformed welcome");
        return Ok(());
    };
    // What is not ours proves nothing and is not held against us.
    let remembered = welcome.remembered.filter(|signed| signed.verifies(&shared.cluster));
    let event = Event::Remembered(peer, remembered, shared.lived());
    drop(shared.commands.send(Command::Event(event, None)).await);
    let mut next = welcome.cursor;
    let mut published = shared.published.clone();
    let mut heartbeats = tokio::time::interval(HEARTBEAT);
    loop {
        tokio::select! {
            header = reader.next_header() => {
                let Some(header) = header? else { return Ok(()) };
                answer(&shared, &mut reader, &mut writer, header).await?;
            }
            _ = heartbeats.tick() => {
                send(&mut writer, &Message::Heartbeat(shared.heartbeat())).await?;
            }
            more = moved_past(&mut published, next) => {
                if !more {
                    return Ok(());
                }
                let Some(page) = page(&shared, next).await else { return Ok(()) };
                next = page.next;
                send_news(&mut writer, page).await?;
            }
        }
        avid_net::within(SILENCE_MAX, "sending to a peer", writer.flush()).await?;
    }
}

/// Waits for changes beyond `next`; false if the engine is gone. Cancel-safe.
async fn moved_past(published: &mut tokio::sync::watch::Receiver<u64>, next: u64) -> bool {
    published.wait_for(|published| *published > next).await.is_ok()
}

async fn send(writer: &mut FrameWriter, message: &Message) -> Result<(), LinkError> {
    let body = message.to_body();
    let parts = [body.as_slice()];
    let write = writer.write_frame(message.kind(), FRAME_VERSION, &parts);
    avid_net::within(SILENCE_MAX, "sending to a peer", write).await
}

/// Changes from a position on; none if the engine is gone.
async fn page(shared: &Shared, from: u64) -> Option<NewsPage> {
    let (answer, page) = oneshot::channel();
    shared.commands.send(Command::News(from, PAGE, answer)).await.ok()?;
    page.await.ok()
}

async fn send_news(writer: &mut FrameWriter, page: NewsPage) -> Result<(), LinkError> {
    for (position, upload, news) in page.news {
        send(writer, &Message::News { position, upload, news }).await?;
    }
    Ok(())
}

async fn answer(
    shared: &Shared,
    reader: &mut FrameReader,
    writer: &mut FrameWriter,
    header: avid_net::FrameHeader,
) -> Result<(), LinkError> {
    let body = avid_net::within(SILENCE_MAX, "reading from a peer", reader.read_body()).await?;
    if header.kind != kind::PULL {
        return Ok(()); // Newer peers may say more than this build understands.
    }
    let Ok(Message::Pull(upload)) = Message::from_body(header.kind, header.version, &body) else {
        return Ok(());
    };
    let pulled = pulled(shared, upload);
    send(writer, &Message::Pulled { upload, pulled }).await
}

fn pulled(shared: &Shared, upload: UploadId) -> Pulled {
    let Some(record) = lookup::record(&shared.store, upload).ok().flatten() else {
        return Pulled::Nothing;
    };
    match record.phase {
        Phase::Committed(proof) => Pulled::Committed(proof),
        Phase::Idle
        | Phase::Echoed(_)
        | Phase::Ready { .. }
        | Phase::Aborted { .. }
        | Phase::Deleted(_) => {
            record.seal.map_or(Pulled::Nothing, |seal| Pulled::Sealed(Box::new(seal)))
        }
    }
}
