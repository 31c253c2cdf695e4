//! Where the demo happens: a cluster of its own, a random file, and the means to break things.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use avid_client::{Client, ObjectRef};
use avid_types::{
    ClusterConfig, Digest, NodeId, ObjectName, Slot, StripeIndex, StripeLayout, UploadId,
};
use serde::Serialize;
use sha2::Digest as _;
use tempfile::TempDir;

use super::{Args, not_held};
use crate::app::Context;
use crate::commands::init::ClusterPlan;
use crate::commands::session::object_name;
use crate::error::CliError;
use crate::files::client_key::{ClientKey, load_with_grant};
use crate::files::node_key::NodeKey;
use crate::files::seed::fill_random;
use crate::local::{LocalCluster, usage};
use crate::output::Output;

/// Bytes drawn, hashed and written at a time.
const PIECE_BYTES: usize = 1 << 20;
/// How long nodes may take to be healthy again: links back off while a peer is away.
const HEALTH_WAIT_MAX: Duration = Duration::from_secs(60);
/// How often we ask whether they are.
const HEALTH_POLL: Duration = Duration::from_millis(100);

/// The cluster of one demo. Only [`Stage::set`] makes one, always with fresh keys.
#[derive(Debug)]
pub(crate) struct DemoCluster {
    nodes: LocalCluster,
    client_key: ClientKey,
}

impl DemoCluster {
    /// What the nodes agree on.
    pub(crate) fn config(&self) -> &ClusterConfig {
        self.nodes.config()
    }

    /// The secret of a node of this demo.
    ///
    /// # Errors
    ///
    /// [`CliError`] if its file is gone.
    pub(crate) fn node_key(&self, node: NodeId) -> Result<NodeKey, CliError> {
        self.nodes.node_key(node)
    }

    /// The key of the demo's client.
    pub(crate) fn client_key(&self) -> &ClientKey {
        &self.client_key
    }
}

/// Peak memory of one process; `None` where the system does not tell.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Peak {
    /// Which process.
    pub(crate) process: String,
    /// Peak resident memory.
    pub(crate) bytes: Option<u64>,
}

/// Everything the acts use.
#[derive(Debug)]
pub(crate) struct Stage {
    dir: Option<TempDir>,
    path: PathBuf,
    output: Output,
    cluster: DemoCluster,
    name: ObjectName,
    object_bytes: u64,
    peaks: BTreeMap<String, Option<u64>>,
}

impl Stage {
    /// Makes a directory, keys and configuration. Starts nothing.
    ///
    /// # Errors
    ///
    /// [`CliError`] if the shape is impossible or the directory cannot be used.
    pub(crate) fn set(context: &Context, args: &Args) -> Result<Self, CliError> {
        let parent = args.dir.clone().unwrap_or_else(std::env::temp_dir);
        let on_io = |source| CliError::file("make a directory in", &parent, &source);
        std::fs::create_dir_all(&parent).map_err(on_io)?;
        let parent = std::path::absolute(&parent).map_err(on_io)?;
        let dir =
            tempfile::Builder::new().prefix("avid-demo-").tempdir_in(parent).map_err(on_io)?;
        let path = dir.path().to_owned();
        let nodes = LocalCluster::create(&path, &ClusterPlan::of_shape(args.m, args.n()))?;
        let client_key = load_with_grant(&nodes.client_key_path())?.value;
        Ok(Self {
            dir: Some(dir),
            path,
            output: context.output,
            cluster: DemoCluster { nodes, client_key },
            name: object_name("demo.bin")?,
            object_bytes: args.size,
            peaks: BTreeMap::new(),
        })
    }

    /// The cluster, for the liar.
    pub(crate) fn cluster(&self) -> &DemoCluster {
        &self.cluster
    }

    /// The processes.
    pub(crate) fn nodes(&mut self) -> &mut LocalCluster {
        &mut self.cluster.nodes
    }

    /// Where a progress bar may go.
    pub(crate) fn output(&self) -> Output {
        self.output
    }

    /// The object's name.
    pub(crate) fn name(&self) -> &ObjectName {
        &self.name
    }

    /// The object's length.
    pub(crate) fn object_bytes(&self) -> u64 {
        self.object_bytes
    }

    /// Shape of the cluster in words.
    pub(crate) fn shape(&self) -> String {
        self.cluster.config().params.to_string()
    }

    /// A file of this name on the stage.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A client that remembers nothing of the act before.
    ///
    /// # Errors
    ///
    /// [`CliError`] if the client refuses its own configuration.
    pub(crate) fn client(&self) -> Result<Client, CliError> {
        self.cluster.nodes.client()
    }

    /// The object as the client names it.
    pub(crate) fn object(&self, client: &Client) -> ObjectRef {
        client.own(&self.name)
    }

    /// Tells the audience; silent where a program listens.
    ///
    /// # Errors
    ///
    /// [`CliError`] if stdout cannot be written.
    pub(crate) fn say(&self, text: &str) -> Result<(), CliError> {
        if self.output.is_json() { Ok(()) } else { self.output.write(text) }
    }

    /// Name of a node.
    pub(crate) fn node_name(&self, node: NodeId) -> String {
        self.cluster.nodes.name(node)
    }

    /// The node that holds a slot of the object.
    ///
    /// # Errors
    ///
    /// [`CliError`] if the shape has no such slot.
    pub(crate) fn node_at(&self, upload: UploadId, slot: Slot) -> Result<NodeId, CliError> {
        let node = self.cluster.config().node_at(upload, slot);
        node.ok_or_else(|| not_held(format!("no node holds slot {slot}")))
    }

    /// Writes the random file and returns its digest.
    ///
    /// # Errors
    ///
    /// [`CliError`] if there is no room for it.
    pub(crate) fn write_random_file(&self, path: &Path) -> Result<Digest, CliError> {
        let on_io = |source| CliError::file("write", path, &source);
        let mut file = File::create(path).map_err(on_io)?;
        let (mut hasher, mut left) = (sha2::Sha256::new(), self.object_bytes);
        let mut piece = vec![0; PIECE_BYTES];
        while left > 0 {
            let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
            piece.truncate(bytes);
            fill_random(&mut piece)?;
            hasher.update(&piece);
            file.write_all(&piece).map_err(on_io)?;
            left -= u64::try_from(bytes).unwrap_or(left);
        }
        file.sync_all().map_err(on_io)?;
        Ok(Digest(hasher.finalize().into()))
    }

    /// Waits until every node holds its fragment of the object and is linked to the others.
    ///
    /// # Errors
    ///
    /// [`CliError`] if that does not happen in time.
    pub(crate) async fn heal(&mut self) -> Result<(), CliError> {
        for node in self.cluster.nodes.ids() {
            if self.cluster.nodes.is_moved(node) {
                self.cluster.nodes.stop(node).await?;
            }
            if self.cluster.nodes.pid(node).is_none() {
                self.cluster.nodes.start(node).await?;
            }
        }
        self.cluster.nodes.wait_until_voting().await?;
        let deadline = Instant::now() + HEALTH_WAIT_MAX;
        let n = self.cluster.config().params.n();
        let client = self.client()?;
        let object = self.object(&client);
        loop {
            let status = client.stat(&object).await;
            let holders = status.map_or(0, |status| status.held());
            if holders == n {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(not_held(format!("only {holders} of {n} nodes hold their fragment")));
            }
            tokio::time::sleep(HEALTH_POLL).await;
        }
    }

    /// Flips one bit in the middle of the object's fragment on a node's disk. Twice is not at all.
    ///
    /// # Errors
    ///
    /// [`CliError`] if the fragment is not there.
    pub(crate) fn corrupt(&self, upload: UploadId, slot: Slot) -> Result<(), CliError> {
        let config = self.cluster.config();
        let layout = StripeLayout::new(config.params, config.chunk_bytes, self.object_bytes)
            .map_err(|error| CliError::usage(error.to_string()))?;
        let middle = StripeIndex(layout.stripes() / 2);
        let node = self.node_at(upload, slot)?;
        let name = format!("{upload}.{slot}");
        let path = find(&self.fragments(node), &name)
            .ok_or_else(|| not_held(format!("{} has no file {name}", self.node_name(node))))?;
        flip(&path, layout.fragment_offset(middle))
            .map_err(|source| CliError::file("corrupt", &path, &source))
    }

    /// Bytes that all fragments occupy on disk.
    pub(crate) fn fragment_bytes(&self) -> u64 {
        let nodes = self.cluster.nodes.ids();
        nodes.map(|node| usage::disk_bytes(&self.fragments(node))).sum()
    }

    fn fragments(&self, node: NodeId) -> PathBuf {
        self.cluster.nodes.data_dir(node).join("fragments")
    }

    /// Remembers the peak memory of every running process.
    pub(crate) fn note_peaks(&mut self) {
        let nodes = &self.cluster.nodes;
        let running = nodes.ids().filter_map(|node| Some((nodes.name(node), nodes.pid(node)?)));
        let own = ("demo (client and liar)".to_owned(), std::process::id());
        for (name, pid) in running.chain([own]).collect::<Vec<_>>() {
            let peak = self.peaks.entry(name).or_default();
            *peak = (*peak).max(usage::peak_memory_bytes(pid));
        }
    }

    /// What was remembered.
    pub(crate) fn peaks(&self) -> Vec<Peak> {
        let peak = |(process, bytes): (&String, &Option<u64>)| Peak {
            process: process.clone(),
            bytes: *bytes,
        };
        self.peaks.iter().map(peak).collect()
    }

    /// Stops every node.
    ///
    /// # Errors
    ///
    /// [`CliError`] if one had to be killed.
    pub(crate) async fn strike(&mut self) -> Result<(), CliError> {
        self.cluster.nodes.stop_all().await
    }

    /// Removes the directory, or keeps it and tells where it is.
    pub(crate) fn leave(&mut self, keep: bool) -> Option<PathBuf> {
        let dir = self.dir.take()?;
        keep.then(|| dir.keep())
    }
}

/// The file of that name in a directory or below it.
fn find(directory: &Path, name: &str) -> Option<PathBuf> {
    for entry in std::fs::read_dir(directory).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = find(&path, name) {
                return Some(found);
            }
        } else if entry.file_name().to_str() == Some(name) {
            return Some(path);
        }
    }
    None
}

fn flip(path: &Path, offset: u64) -> std::io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    file.write_all_at(&byte.map(|byte| byte ^ 1), offset)?;
    file.sync_all()
}

/// Digest of a file.
///
/// # Errors
///
/// [`CliError`] if it cannot be read.
pub(crate) fn digest_of(path: &Path) -> Result<Digest, CliError> {
    let on_io = |source| CliError::file("read", path, &source);
    let mut file = File::open(path).map_err(on_io)?;
    let (mut hasher, mut piece) = (sha2::Sha256::new(), vec![0; PIECE_BYTES]);
    loop {
        let read = file.read(&mut piece).map_err(on_io)?;
        if read == 0 {
            return Ok(Digest(hasher.finalize().into()));
        }
        hasher.update(piece.get(..read).unwrap_or_default());
    }
}
