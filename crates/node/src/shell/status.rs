//! How this node is, as JSON for `status`; nothing is decided by it.

use std::sync::PoisonError;

use serde::Serialize;
use tokio::sync::oneshot;

use crate::shell::Shared;
use crate::shell::engine::Command;

#[derive(Debug, Serialize)]
struct Status<'a> {
    node: u16,
    name: &'a str,
    version: &'static str,
    boot: u64,
    voting: bool,
    not_voting_because: Option<String>,
    cluster_time_ms: u64,
    journal_position: u64,
    disk_free_bytes: Option<u64>,
    uploads_in_memory: usize,
    uploads_undecided: usize,
    dispersals_open: usize,
    durability: &'static str,
    peers: Vec<Peer<'a>>,
}

#[derive(Debug, Serialize)]
struct Peer<'a> {
    node: u16,
    name: &'a str,
    state: String,
    last_error: Option<String>,
    faults: u64,
}

pub(crate) async fn json(shared: &Shared) -> String {
    let (answer, status) = oneshot::channel();
    drop(shared.commands.send(Command::Status(answer)).await);
    let Ok(engine) = status.await else {
        return "{}".into();
    };
    let member = shared.cluster.member(shared.node);
    let links = shared.links.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let peers = links.iter().map(|(node, link)| {
        let link = link.borrow();
        Peer {
            node: node.0,
            name: shared.cluster.member(*node).map_or("", |member| &member.name),
            state: format!("{:?}", link.state).to_lowercase(),
            last_error: link.last_error.clone(),
            faults: engine.faults.get(node).copied().unwrap_or(0),
        }
    });
    let status = Status {
        node: shared.node.0,
        name: member.map_or("", |member| &member.name),
        version: env!("CARGO_PKG_VERSION"),
        boot: shared.store.boot(),
        voting: engine.may_vote.is_ok(),
        not_voting_because: engine.may_vote.err(),
        cluster_time_ms: shared.cluster_time().0,
        journal_position: shared.store.journal().durable_position(),
        disk_free_bytes: shared.store.free_bytes().ok(),
        uploads_in_memory: engine.resident,
        uploads_undecided: engine.undecided,
        dispersals_open: shared.ingests.len(),
        durability: "strict",
        peers: peers.collect(),
    };
    serde_json::to_string(&status).unwrap_or_else(|_| "{}".into())
}
