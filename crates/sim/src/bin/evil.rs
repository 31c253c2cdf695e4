//! `evil`: a lying member of a real cluster. For tests of processes; no release contains it.
//!
//! It takes the arguments of `avid serve`, runs the same production node on the same files, and
//! puts an adversary behind everything that node sends. The keys may be any, but a behaviour that
//! signs lies signs them with the keys of simulated nodes ([`sim::world::vote_key`]): give the
//! member those keys if its lies are to verify.
//!
//! Not here: what a behaviour may and may not do; each type says so itself.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use avid_net::{Host, SystemHost};
use avid_node::{Node, NodeConfig, open_data_dir};
use avid_protocol::wire::{Message, News, RefusalCode, kind};
use avid_types::{
    ClusterConfig, ClusterId, Digest, Epoch, MemberConfig, NodeId, Params, PublicKey, SigningKey,
    Suite,
};
use clap::{Parser, ValueEnum};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sim::liar_node::answers::{AnswerLie, LyingAnswers};
use sim::liar_node::chunks::{ChunkLie, WrongChunks};
use sim::liar_node::clock::{LyingClock, TEN_YEARS_MS};
use sim::liar_node::service::{Excuse, Withhold};
use sim::liar_node::votes::{Audience, Equivocator, Flood, Forger, Forgery};
use sim::liar_node::{Identity, random_liar, shared};
use sim::tap::{Frame, Tap, Way};
use sim::tapped_host::TappedHost;
use sim::world::host_of;

/// A member of a cluster that lies. For tests only.
#[derive(Debug, Parser)]
struct Args {
    /// How it lies.
    #[arg(long)]
    behaviour: Behaviour,
    /// What a random liar draws from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// As of `avid`.
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Runs the member until its stdin ends.
    Serve {
        /// The cluster file.
        #[arg(long)]
        cluster: PathBuf,
        /// The node's key file.
        #[arg(long)]
        key: PathBuf,
        /// Where fragments and the journal live.
        #[arg(long)]
        data: PathBuf,
        /// Accepted because `avid serve` has it; a liar always does.
        #[arg(long)]
        exit_with_stdin: bool,
    },
}

/// Ways to lie, by the names that tests use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Behaviour {
    /// Flips a bit in every chunk it serves.
    FlippedChunks,
    /// Serves chunks of other stripes and objects, with the proofs that belong to them.
    ForeignChunks,
    /// Votes, and says that it has no fragment when it is asked for it.
    WithheldChunks,
    /// Keeps its votes to itself.
    DroppedVotes,
    /// Signs other content for some nodes, after it told them the truth.
    EquivocalVotes,
    /// Spoils the certificates that it passes on.
    ForgedCertificates,
    /// Says that it knows of no object.
    HiddenObjects,
    /// Refuses whatever it is asked.
    Refusals,
    /// Repeats its news a hundred times.
    Flood,
    /// Signs clocks that are ten years fast.
    LyingClock,
    /// Draws its lies from the seed.
    Random,
}

impl Behaviour {
    fn tap(self, me: Identity, seed: u64) -> Arc<Mutex<dyn Tap>> {
        match self {
            Self::FlippedChunks => shared(WrongChunks::new(ChunkLie::Flip(12_345))),
            Self::ForeignChunks => shared(WrongChunks::new(ChunkLie::Foreign)),
            Self::WithheldChunks => shared(Withhold::new(Excuse::Refusal(RefusalCode::NotFound))),
            Self::DroppedVotes => shared(DroppedVotes),
            Self::EquivocalVotes => {
                let others =
                    me.config.nodes().map(|(node, _)| node).filter(|node| *node != me.node);
                let victims: Vec<_> = others.take(2).map(host_of).collect();
                shared(Equivocator::new(me, victims, Audience::Both, None))
            }
            Self::ForgedCertificates => shared(Forger::new(Forgery::Signature)),
            Self::HiddenObjects => shared(LyingAnswers::new(me, AnswerLie::Hide)),
            Self::Refusals => {
                shared(LyingAnswers::new(me, AnswerLie::Refuse(RefusalCode::OtherContent)))
            }
            Self::Flood => shared(Flood::new(100)),
            Self::LyingClock => shared(LyingClock::new(me, TEN_YEARS_MS)),
            Self::Random => random_liar(me, seed),
        }
    }
}

/// Stores and serves fragments, and never says that it has one.
///
/// May: keep votes back. May not: change what it says otherwise.
#[derive(Debug)]
struct DroppedVotes;

impl Tap for DroppedVotes {
    fn on_frame(&mut self, _: Way, frame: Frame, wire: &mut Vec<Frame>) {
        if frame.kind == kind::VOTE || is_news_of_votes(&frame) {
            return;
        }
        wire.push(frame);
    }
}

fn is_news_of_votes(frame: &Frame) -> bool {
    frame.kind == kind::NEWS
        && matches!(
            Message::from_body(frame.kind, frame.version, &frame.body),
            Ok(Message::News { news: News::Votes { .. }, .. })
        )
}

/// Of the cluster file, what a member needs. Its signature protects people, not liars.
#[derive(Debug, Deserialize)]
struct ClusterFile {
    cluster: ClusterId,
    epoch: Epoch,
    m: u8,
    n: u8,
    f: u8,
    suite: Suite,
    chunk_bytes: u32,
    members: Vec<MemberConfig>,
    groups: Vec<Vec<NodeId>>,
    operators: Vec<PublicKey>,
}

/// Of the key file, the seeds. They are written as digests are: 64 hexadecimal characters.
#[derive(Debug, Deserialize)]
struct KeyFile {
    vote_seed: Digest,
    transport_seed: Digest,
}

fn load<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}

fn load_cluster(path: &Path) -> anyhow::Result<ClusterConfig> {
    let file: ClusterFile = load(path)?;
    let config = ClusterConfig {
        cluster: file.cluster,
        epoch: file.epoch,
        params: Params::validate(file.m, file.n, file.f)?,
        suite: file.suite,
        chunk_bytes: file.chunk_bytes,
        members: file.members,
        groups: file.groups,
        operators: file.operators,
    };
    config.check()?;
    Ok(config)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { behaviour, seed, command } = Args::parse();
    let Command::Serve { cluster, key, data, exit_with_stdin: _ } = command;
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let cluster = Arc::new(load_cluster(&cluster)?);
    let key: KeyFile = load(&key)?;
    let transport_key = SigningKey::from_seed(key.transport_seed.0);
    let found = cluster.node_of_transport_key(&transport_key.public());
    let node = found.context("the key is no member's")?;
    let member = cluster.member(node).context("a member that was found")?;
    let tap = behaviour.tap(Identity { config: Arc::clone(&cluster), node }, seed);
    let host: Host = Arc::new(TappedHost::new(&cluster, node, tap));
    let config = NodeConfig {
        disk: open_data_dir(&SystemHost::shared(), &data).await?,
        host,
        observer: None,
        listen: vec![member.address.clone()],
        cluster: Arc::clone(&cluster),
        node,
        vote_key: SigningKey::from_seed(key.vote_seed.0),
        transport_key,
    };
    let mut running = Node::start(config).await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{} is ready on {:?}, lying", member.name, running.addresses())?;
    stdout.flush()?;
    tokio::select! {
        ended = tokio::task::spawn_blocking(stdin_ended) => ended?,
        () = running.halted() => {}
    }
    running.stop().await?;
    Ok(())
}

/// Returns when stdin ends or breaks.
fn stdin_ended() {
    let mut discarded = [0; 256];
    while std::io::stdin().read(&mut discarded).is_ok_and(|bytes| bytes > 0) {}
}
