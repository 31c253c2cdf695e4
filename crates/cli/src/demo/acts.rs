//! The acts, one function each.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use avid_client::{DisperseOptions, RetrieveReport, Source};
use avid_types::{Digest, NodeId, Slot, UploadId};
use serde::Serialize;

use super::liar::Liar;
use super::not_held;
use super::stage::{Stage, digest_of};
use crate::commands::failure;
use crate::commands::retrieve::{Wanted, to_file};
use crate::error::{CliError, Kind};
use crate::output::human_bytes;
use crate::progress::Bar;

/// How long the first placement may take.
const PLACEMENT_WAIT_MAX: Duration = Duration::from_secs(60);

/// An act that held.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Act {
    title: String,
    outcome: String,
}

/// What the acts measured.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// Dispersal, committed and placed.
    pub(crate) write_mb_per_s: f64,
    /// Retrieval with every node healthy, file synced.
    pub(crate) read_mb_per_s: f64,
    /// On all nodes together.
    pub(crate) stored_bytes_per_object_byte: f64,
    /// What held.
    pub(crate) acts: Vec<Act>,
}

/// The file everything is about.
struct Original {
    digest: Digest,
    upload: UploadId,
}

/// Which nodes are bad in act 2.
#[derive(Clone, Copy)]
struct Bad {
    corrupt: Option<Slot>,
    lying: Option<Slot>,
}

/// Plays all acts in order.
///
/// # Errors
///
/// [`CliError`] naming what did not hold.
pub(crate) async fn play(stage: &mut Stage) -> Result<Measured, CliError> {
    let mut acts = Vec::new();
    let (original, mut measured) = write(stage, &mut acts).await?;
    kill(stage, &original, &mut acts).await?;
    for bad in bad_nodes(stage)? {
        deceive(stage, &original, bad, &mut acts).await?;
    }
    overwhelm(stage, &original, &mut acts).await?;
    measured.acts = acts;
    Ok(measured)
}

fn held(stage: &Stage, acts: &mut Vec<Act>, title: &str, outcome: String) -> Result<(), CliError> {
    stage.say(&format!("   held: {outcome}"))?;
    acts.push(Act { title: title.to_owned(), outcome });
    Ok(())
}

/// Act 0.
async fn write(stage: &mut Stage, acts: &mut Vec<Act>) -> Result<(Original, Measured), CliError> {
    let title = format!(
        "Act 0: disperse a random file of {} over {} node processes, {}",
        human_bytes(stage.object_bytes()),
        stage.cluster().config().params.n(),
        stage.shape()
    );
    stage.say(&title)?;
    let path = stage.file("original.bin");
    let digest = stage.write_random_file(&path)?;
    stage.nodes().start_all().await?;
    let client = stage.client()?;
    let options =
        DisperseOptions { placement_timeout: PLACEMENT_WAIT_MAX, ..DisperseOptions::default() };
    let bar = Bar::new(&stage.output(), "dispersing");
    let started = Instant::now();
    let dispersed = client.disperse(stage.name(), Source::file(&path), &options, &bar).await;
    let write_mb_per_s = mb_per_s(stage.object_bytes(), started.elapsed());
    drop(bar);
    let report = dispersed.map_err(|error| failure::disperse(&error))?;
    if report.placed.len() != report.n {
        return Err(not_held(format!("placed {}/{}", report.placed.len(), report.n)));
    }
    let stored = stage.fragment_bytes();
    let original = Original { digest, upload: report.upload };
    let read_mb_per_s = read_back(stage, &original, "healthy.bin").await?.mb_per_s;
    let outcome = format!(
        "placed {}/{} at {write_mb_per_s:.0} MB/s, read back at {read_mb_per_s:.0} MB/s",
        report.placed.len(),
        report.n
    );
    held(stage, acts, &title, outcome)?;
    let stored_bytes_per_object_byte = ratio(stored, stage.object_bytes());
    let acts = Vec::new();
    Ok((original, Measured { write_mb_per_s, read_mb_per_s, stored_bytes_per_object_byte, acts }))
}

/// Act 1.
async fn kill(stage: &mut Stage, original: &Original, acts: &mut Vec<Act>) -> Result<(), CliError> {
    stage.heal().await?;
    let count = stage.cluster().config().params.losses_when_placed();
    let victims = holders_of(stage, original, count)?;
    let names = names(stage, &victims);
    let title = format!("Act 1: kill {} (SIGKILL), {count} = n - m of the nodes", names.join(", "));
    stage.say(&title)?;
    stage.note_peaks();
    for node in &victims {
        stage.nodes().kill(*node).await?;
    }
    let rate = read_back(stage, original, "act1.bin").await?.mb_per_s;
    held(stage, acts, &title, format!("the same bytes came back, at {rate:.0} MB/s"))
}

/// What act 2 can show: with n - m = 1 one node at a time is bad, which is said.
fn bad_nodes(stage: &Stage) -> Result<Vec<Bad>, CliError> {
    let (corrupt, lying) = (Some(Slot(0)), Some(Slot(1)));
    if stage.cluster().config().params.losses_when_placed() >= 2 {
        return Ok(vec![Bad { corrupt, lying }]);
    }
    stage.say("With n - m = 1 only one node may be bad at a time: act 2 comes in two parts.")?;
    // The first slot is always asked, even where one chunk suffices (m = 1).
    Ok(vec![Bad { corrupt, lying: None }, Bad { corrupt: None, lying: Some(Slot(0)) }])
}

/// Act 2.
async fn deceive(
    stage: &mut Stage,
    original: &Original,
    bad: Bad,
    acts: &mut Vec<Act>,
) -> Result<(), CliError> {
    stage.heal().await?;
    let mut culprits = Vec::new();
    let mut doings = Vec::new();
    if let Some(slot) = bad.corrupt {
        stage.corrupt(original.upload, slot)?;
        let node = stage.node_at(original.upload, slot)?;
        doings.push(format!("one bit flips in {}'s fragment on disk", stage.node_name(node)));
        culprits.push(node);
    }
    let mut liar = None;
    if let Some(slot) = bad.lying {
        let node = stage.node_at(original.upload, slot)?;
        stage.note_peaks();
        stage.nodes().stop(node).await?;
        let port = stage.nodes().start_elsewhere(node).await?;
        liar = Some(Liar::start(stage.cluster(), node, port)?);
        doings.push(format!("{} lies about every chunk", stage.node_name(node)));
        culprits.push(node);
    }
    let title = format!("Act 2: {}", doings.join("; "));
    stage.say(&title)?;
    let read = read_back(stage, original, "act2.bin").await;
    let lies = liar.as_ref().map(Liar::lies);
    if let Some(liar) = liar {
        liar.stop().await;
    }
    if let Some(slot) = bad.corrupt {
        stage.corrupt(original.upload, slot)?;
    }
    let report = read?.report;
    if lies == Some(0) {
        return Err(not_held("nobody asked the liar"));
    }
    for node in &culprits {
        if !report.faults.iter().any(|fault| fault.node == *node) {
            let name = stage.node_name(*node);
            return Err(not_held(format!("{name} misbehaved and was not named")));
        }
    }
    for fault in &report.faults {
        stage.say(&format!("   found out: {fault}"))?;
    }
    if let Some(innocent) = report.faults.iter().find(|fault| !culprits.contains(&fault.node)) {
        return Err(not_held(format!("{} was honest and is accused", innocent.name)));
    }
    let names = names(stage, &culprits).join(" and ");
    held(stage, acts, &title, format!("the same bytes came back, and {names} found out"))
}

/// Act 3.
async fn overwhelm(
    stage: &mut Stage,
    original: &Original,
    acts: &mut Vec<Act>,
) -> Result<(), CliError> {
    stage.heal().await?;
    let count = stage.cluster().config().params.losses_when_placed();
    let victims = holders_of(stage, original, count)?;
    let last = Slot(u8::try_from(count).unwrap_or(u8::MAX));
    let corrupted = stage.node_at(original.upload, last)?;
    let title = format!(
        "Act 3: too much: {} are killed and {}'s fragment is corrupt, {} = n - m + 1 bad nodes",
        names(stage, &victims).join(", "),
        stage.node_name(corrupted),
        count + 1
    );
    stage.say(&title)?;
    stage.note_peaks();
    stage.corrupt(original.upload, last)?;
    for node in &victims {
        stage.nodes().kill(*node).await?;
    }
    let path = stage.file("act3.bin");
    let result = retrieve(stage, &path).await;
    stage.corrupt(original.upload, last)?;
    let Err(error) = result else {
        return Err(not_held("a read succeeded although too few nodes were good"));
    };
    if !matches!(error.kind, Kind::Unavailable | Kind::Integrity) {
        return Err(not_held(format!("the read failed for another reason: {error}")));
    }
    if path.exists() {
        return Err(not_held("a failed read left an output file"));
    }
    stage.say(&format!("   the read says: {error}"))?;
    stage.heal().await?;
    read_back(stage, original, "healed.bin").await?;
    let outcome = format!(
        "the read failed (exit code {}), left no file, and works again with the nodes back",
        error.kind.code()
    );
    held(stage, acts, &title, outcome)
}

/// Nodes of the first slots: those a reader asks first.
fn holders_of(stage: &Stage, original: &Original, count: usize) -> Result<Vec<NodeId>, CliError> {
    let slots = stage.cluster().config().params.slots().take(count);
    slots.map(|slot| stage.node_at(original.upload, slot)).collect()
}

fn names(stage: &Stage, nodes: &[NodeId]) -> Vec<String> {
    nodes.iter().map(|node| stage.node_name(*node)).collect()
}

async fn retrieve(stage: &Stage, path: &Path) -> Result<RetrieveReport, CliError> {
    let client = stage.client()?;
    let wanted = Wanted { object: stage.object(&client), range: None };
    let bar = Bar::new(&stage.output(), "retrieving");
    to_file(&client, &wanted, path, &bar).await
}

/// What came back.
struct Back {
    report: RetrieveReport,
    /// Until the file was synced and had its name.
    mb_per_s: f64,
}

/// Retrieves the object and compares digests.
async fn read_back(stage: &Stage, original: &Original, name: &str) -> Result<Back, CliError> {
    let path: PathBuf = stage.file(name);
    let started = Instant::now();
    let report = retrieve(stage, &path).await?;
    let mb_per_s = mb_per_s(stage.object_bytes(), started.elapsed());
    let digest = digest_of(&path)?;
    std::fs::remove_file(&path).map_err(|source| CliError::file("remove", &path, &source))?;
    if digest != original.digest {
        return Err(not_held("the bytes that came back are not those that were written"));
    }
    Ok(Back { report, mb_per_s })
}

/// Megabytes (10^6) per second.
pub(crate) fn mb_per_s(bytes: u64, elapsed: Duration) -> f64 {
    ratio(bytes, 1_000_000) / elapsed.as_secs_f64().max(f64::EPSILON)
}

/// A quotient for people: exact to a ten-thousandth.
pub(crate) fn ratio(dividend: u64, divisor: u64) -> f64 {
    let scaled = u128::from(dividend) * 10_000 / u128::from(divisor.max(1));
    u32::try_from(scaled).map_or(f64::INFINITY, f64::from) / 10_000.0
}
