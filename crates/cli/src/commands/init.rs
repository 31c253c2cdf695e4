//! `avid init`: makes a cluster file from join requests, or a whole development cluster at once.
//!
//! With `--join` the operator only collects public requests and signs: no node's secret is ever
//! here. With `--nodes` every secret is made in one directory, which is for development only, and
//! the file says so.

use std::path::{Path, PathBuf};

use avid_protocol::authority::{Grant, Rights};
use avid_types::limits::CHUNK_BYTES_DEFAULT;
use avid_types::{
    ClusterConfig, ClusterId, Epoch, FingerprintKind, MemberConfig, NodeId, Params, SigningKey,
    Suite, Timestamp,
};
use clap::ValueEnum;
use serde::Serialize;

use crate::app::Context;
use crate::error::{CliError, Kind};
use crate::files::client_key::ClientKey;
use crate::files::cluster_file::ClusterFile;
use crate::files::join::JoinRequest;
use crate::files::node_key::NodeKey;
use crate::files::operator_key::OperatorKey;
use crate::files::seed::{Seed, fill_random};
use crate::files::{create, load};

/// What to make.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Join requests of all nodes, from `avid keygen node` on each machine.
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "nodes")]
    join: Vec<PathBuf>,
    /// Fragments that rebuild an object.
    #[arg(short, default_value_t = 3)]
    m: u8,
    /// Nodes, for a check [default: as many as there are].
    #[arg(short)]
    n: Option<u8>,
    /// Liars tolerated [default: the most m and n allow].
    #[arg(short)]
    f: Option<u8>,
    /// Chunk length, bytes; a multiple of 1 KiB from 4 KiB to 4 MiB.
    #[arg(long, value_name = "SIZE", value_parser = crate::args::parse_bytes)]
    chunk_bytes: Option<u64>,
    /// The homomorphic fingerprint; fp64 is weaker, see docs/protocol.md.
    #[arg(long, value_enum, default_value_t)]
    fingerprint: FingerprintChoice,
    /// Signs the cluster file.
    #[arg(long, value_name = "FILE", requires = "join")]
    operator_key: Option<PathBuf>,
    /// Where the cluster file goes; must not exist.
    #[arg(long, value_name = "FILE", default_value = "cluster.json", conflicts_with = "nodes")]
    out: PathBuf,
    /// DEVELOPMENT ONLY: make this many nodes with all their keys here.
    #[arg(long, conflicts_with = "join", requires = "dir")]
    nodes: Option<u8>,
    /// Where the development cluster goes; made if it does not exist.
    #[arg(long, value_name = "DIR", requires = "nodes")]
    dir: Option<PathBuf>,
    /// Port of the first development node on 127.0.0.1; the others follow.
    #[arg(long, default_value_t = 7101, requires = "nodes")]
    base_port: u16,
}

/// Which fingerprint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FingerprintChoice {
    /// 128-bit field.
    #[default]
    Fp128,
    /// 64-bit field.
    Fp64,
}

/// Shape of a cluster to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClusterPlan {
    /// Fragments that rebuild an object.
    pub(crate) m: u8,
    /// Nodes, if the caller said how many to expect.
    pub(crate) n: Option<u8>,
    /// Liars; `None` for the most.
    pub(crate) f: Option<u8>,
    /// Chunk length, bytes.
    pub(crate) chunk_bytes: u32,
    /// Code, fingerprint, hash.
    pub(crate) suite: Suite,
}

impl ClusterPlan {
    /// A plan with default suite and chunk size.
    #[must_use]
    pub(crate) fn of_shape(m: u8, n: u8) -> Self {
        let (chunk_bytes, suite) = (CHUNK_BYTES_DEFAULT, Suite::default());
        Self { m, n: Some(n), f: None, chunk_bytes, suite }
    }
}

#[derive(Serialize)]
struct Made {
    cluster: ClusterId,
    file: PathBuf,
    shape: String,
    members: Vec<MemberConfig>,
    development: bool,
}

/// Makes the cluster.
///
/// # Errors
///
/// [`CliError`] if the shape is impossible or a file is unusable.
pub(crate) fn run(context: &Context, args: &Args) -> Result<(), CliError> {
    let chunk_bytes = match args.chunk_bytes {
        None => CHUNK_BYTES_DEFAULT,
        Some(bytes) => u32::try_from(bytes)
            .map_err(|_| CliError::usage(format!("--chunk-bytes {bytes} is too large")))?,
    };
    let fingerprint = match args.fingerprint {
        FingerprintChoice::Fp128 => FingerprintKind::Fp128,
        FingerprintChoice::Fp64 => FingerprintKind::Fp64,
    };
    let suite = Suite { fingerprint, ..Suite::default() };
    let plan = ClusterPlan { m: args.m, n: args.n, f: args.f, chunk_bytes, suite };
    if let (Some(nodes), Some(dir)) = (args.nodes, &args.dir) {
        let plan = ClusterPlan { n: Some(args.n.unwrap_or(nodes)), ..plan };
        let ports = ports_from(args.base_port, nodes)?;
        let made = make_development_cluster(dir, &plan, &ports)?;
        return show_development(context, dir, &made);
    }
    let Some(operator_path) = &args.operator_key else {
        return Err(CliError::usage("--join needs --operator-key FILE to sign with")
            .hint("`avid keygen operator --out operator.key` makes one"));
    };
    let operator = load::<OperatorKey>(operator_path)?;
    if let Some(warning) = &operator.warning {
        context.output.warn(warning);
    }
    let operator = operator.value.seed.key();
    let members = args.join.iter().map(|path| load_request(path)).collect::<Result<_, _>>()?;
    let config = plan_config(&plan, members, draw_cluster_id()?, &operator)?;
    create(&args.out, &ClusterFile::sign(&config, &operator))?;
    let text = format!(
        "{} of {} nodes: {}\nGive it to every node (`avid serve --cluster`) and every client.",
        config.params,
        config.members.len(),
        args.out.display()
    );
    context.output.result(&made(&config, &args.out, false), &text)
}

fn made(config: &ClusterConfig, file: &Path, development: bool) -> Made {
    let shape = config.params.to_string();
    let members = config.members.clone();
    Made { cluster: config.cluster, file: file.to_owned(), shape, members, development }
}

fn ports_from(base: u16, nodes: u8) -> Result<Vec<u16>, CliError> {
    let end = base.checked_add(u16::from(nodes));
    let Some(end) = end.filter(|_| base > 0) else {
        return Err(CliError::usage(format!("{nodes} ports from {base} on do not exist")));
    };
    Ok((base..end).collect())
}

fn show_development(context: &Context, dir: &Path, config: &ClusterConfig) -> Result<(), CliError> {
    let mut text = format!(
        "DEVELOPMENT cluster, {}: every secret key was made here.\n\nStart each node:\n",
        config.params
    );
    let shown = dir.display();
    for member in &config.members {
        let name = &member.name;
        text += &format!(
            "  avid serve --cluster {shown}/cluster.json --key {shown}/{name}/node.key \
             --data {shown}/{name}/data\n"
        );
    }
    text += &format!(
        "\nThen:\n  export AVID_CLUSTER={shown}/cluster.json AVID_KEY={shown}/client.key\n  \
         avid disperse FILE --id NAME\n"
    );
    context.output.result(&made(config, &dir.join("cluster.json"), true), &text)
}

fn load_request(path: &Path) -> Result<MemberConfig, CliError> {
    let request = load::<JoinRequest>(path)?.value;
    request.verify().ok_or_else(|| {
        CliError::new(
            Kind::Integrity,
            format!("the signatures in {} do not verify", path.display()),
        )
        .hint("it was changed after `avid keygen node` wrote it; get it again from that machine")
    })
}

/// A configuration of one placement group over all members.
///
/// # Errors
///
/// [`CliError`] naming the rule the plan breaks.
pub(crate) fn plan_config(
    plan: &ClusterPlan,
    members: Vec<MemberConfig>,
    cluster: ClusterId,
    operator: &SigningKey,
) -> Result<ClusterConfig, CliError> {
    let found = members.len();
    if let Some(n) = plan.n.filter(|n| usize::from(*n) != found) {
        return Err(CliError::usage(format!("-n is {n}, but there are {found} nodes"))
            .hint("a cluster has one placement group of n nodes: one join request for each"));
    }
    let n = u8::try_from(found).map_err(|_| {
        CliError::usage(format!("{found} nodes are more than one placement group can have (255)"))
    })?;
    let params = match plan.f {
        Some(f) => Params::validate(plan.m, n, f),
        None => Params::with_most_liars(plan.m, n),
    };
    let params = params.map_err(|error| CliError::usage(error.to_string()))?;
    let config = ClusterConfig {
        cluster,
        epoch: Epoch(0),
        params,
        suite: plan.suite,
        chunk_bytes: plan.chunk_bytes,
        groups: vec![(0..u16::from(n)).map(NodeId).collect()],
        members,
        operators: vec![operator.public()],
    };
    config.check().map_err(|error| CliError::usage(error.to_string()))?;
    Ok(config)
}

fn draw_cluster_id() -> Result<ClusterId, CliError> {
    let mut id = [0; ClusterId::BYTES];
    fill_random(&mut id)?;
    Ok(ClusterId(id))
}

/// Makes keys, cluster file and a granted client key of a development cluster in `dir`.
///
/// ```text
/// dir/cluster.json  dir/operator.key  dir/client.key  dir/node1/node.key  dir/node2/node.key ...
/// ```
///
/// # Errors
///
/// [`CliError`] if the shape is impossible or a file exists or cannot be written.
pub(crate) fn make_development_cluster(
    dir: &Path,
    plan: &ClusterPlan,
    ports: &[u16],
) -> Result<ClusterConfig, CliError> {
    let operator = OperatorKey { seed: Seed::draw()? };
    let signer = operator.seed.key();
    let mut nodes = Vec::with_capacity(ports.len());
    for (number, port) in (1usize..).zip(ports) {
        nodes.push(NodeKey::draw(&format!("node{number}"), &format!("127.0.0.1:{port}"), "")?);
    }
    let requests = nodes.iter().map(NodeKey::join_request);
    let members: Option<Vec<_>> = requests.map(|request| request.verify()).collect();
    let members =
        members.ok_or_else(|| CliError::new(Kind::Other, "a fresh signature does not verify"))?;
    let config = plan_config(plan, members, draw_cluster_id()?, &signer)?;
    create_dir(dir)?;
    for node in &nodes {
        let directory = dir.join(&node.name);
        create_dir(&directory)?;
        create(&directory.join("node.key"), node)?;
    }
    let client = Seed::draw()?;
    let rights = Rights { read: true, write: true };
    let grant = Grant { client: client.key().public(), rights, not_after: Timestamp::ZERO };
    let grant = Some(grant.sign(&config, &signer));
    create(&dir.join("client.key"), &ClientKey { seed: client, grant })?;
    create(&dir.join("operator.key"), &operator)?;
    let note = "development: every secret key of this cluster was made in one place".to_owned();
    let file = ClusterFile { note: Some(note), ..ClusterFile::sign(&config, &signer) };
    create(&dir.join("cluster.json"), &file)?;
    Ok(config)
}

fn create_dir(path: &Path) -> Result<(), CliError> {
    std::fs::create_dir_all(path)
        .map_err(|source| CliError::file("make the directory", path, &source))
}
