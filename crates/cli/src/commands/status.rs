//! `avid status`: what every node says of itself. Nothing is decided by it.

use avid_client::NodeStatus;
use serde::Serialize;
use serde_json::Value;

use crate::app::Context;
use crate::commands::session::Session;
use crate::error::{CliError, Kind};
use crate::output::human_bytes;

/// No arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

#[derive(Serialize)]
struct Status<'a> {
    cluster: avid_types::ClusterId,
    shape: String,
    nodes: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    address: &'a str,
    reachable: bool,
    status: Option<Value>,
    error: Option<String>,
}

/// Asks every node.
///
/// # Errors
///
/// [`CliError`] of kind `unavailable` if too few answer for reading or writing.
pub(crate) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let Args {} = args;
    let session = Session::open(context)?;
    let answers = session.client.status().await;
    let params = session.config.params;
    let nodes: Vec<_> = answers
        .iter()
        .map(|answer| {
            let member = session.config.member(answer.node);
            entry(answer, member.map_or("", |member| &member.address))
        })
        .collect();
    let reachable = nodes.iter().filter(|node| node.reachable).count();
    let status = Status { cluster: session.config.cluster, shape: params.to_string(), nodes };
    context.output.result(&status, &text(&status))?;
    // One group so far: the counts of the cluster are those of its group.
    let down = params.n().saturating_sub(reachable);
    if down > params.losses_when_placed() {
        return Err(CliError::new(
            Kind::Unavailable,
            format!(
                "{reachable} of {} nodes answer, {} are needed to read",
                params.n(),
                params.m()
            ),
        )
        .hint("start more nodes; their logs say why they stopped"));
    }
    if down > params.down_during_write() {
        context.output.warn(&format!(
            "{reachable} of {} nodes answer: objects can be read, but not written",
            params.n()
        ));
    }
    Ok(())
}

fn entry<'a>(answer: &'a NodeStatus, address: &'a str) -> Entry<'a> {
    let (status, error) = match &answer.status {
        // Whatever a node says of itself is shown as JSON or not at all.
        Ok(text) => (serde_json::from_str(text).ok(), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Entry { name: &answer.name, address, reachable: answer.status.is_ok(), status, error }
}

fn text(status: &Status<'_>) -> String {
    let mut text = format!("cluster {}, {}\n", status.cluster, status.shape);
    for node in &status.nodes {
        let state = match (&node.status, &node.error) {
            (_, Some(error)) => error.clone(),
            (Some(status), None) => describe(status),
            (None, None) => "answers, but not in JSON".to_owned(),
        };
        text += &format!("{:<12} {:<22} {state}\n", node.name, node.address);
    }
    text
}

/// A line of the figures people ask for first. The text comes from the node: it is made printable.
fn describe(status: &Value) -> String {
    let mut parts = Vec::new();
    match status.get("voting").and_then(Value::as_bool) {
        Some(true) => parts.push("up".to_owned()),
        Some(false) => {
            let reason = status.get("not_voting_because").and_then(Value::as_str);
            parts.push(format!(
                "up, not voting: {}",
                printable(reason.unwrap_or("no reason given"))
            ));
        }
        None => parts.push("answers".to_owned()),
    }
    if let Some(free) = status.get("disk_free_bytes").and_then(Value::as_u64) {
        parts.push(format!("{} free", human_bytes(free)));
    }
    let peers = status.get("peers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let is_up = |peer: &&Value| peer.get("state").and_then(Value::as_str) == Some("connected");
    if !peers.is_empty() {
        parts.push(format!("{}/{} links", peers.iter().filter(is_up).count(), peers.len()));
    }
    let faults: u64 =
        peers.iter().filter_map(|peer| peer.get("faults").and_then(Value::as_u64)).sum();
    if faults > 0 {
        parts.push(format!("{faults} faults of peers seen"));
    }
    parts.join(", ")
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
