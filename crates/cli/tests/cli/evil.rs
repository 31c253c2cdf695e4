//! Members that lie: the program `evil` of the simulator, and clusters that have such members.
//!
//! The program needs a feature that no release has, so cargo builds it here, once per run of the
//! tests. Its adversaries sign with keys that everybody can derive; a lying member therefore joins
//! with those keys.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use avid_types::{Encoder, SigningKey};
use serde_json::{Value, json};

use crate::support::{Cluster, command, expect_code, run};

/// The lying program, not run yet.
pub(crate) fn evil(behaviour: &str, seed: u64) -> Command {
    let mut evil = command(program());
    evil.args(["--behaviour", behaviour, "--seed", &seed.to_string()]);
    evil
}

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(build)
}

/// Builds it beside the binary under test, in the same target directory and profile.
///
/// Cargo holds no lock while it runs tests; concurrent builds wait for each other.
fn build() -> PathBuf {
    let profile_dir = Path::new(env!("CARGO_BIN_EXE_avid")).parent().unwrap();
    let profile = match profile_dir.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let output = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--quiet", "--message-format=json"])
        .args(["--package", "sim", "--features", "evil", "--bin", "evil"])
        .args(["--profile", profile, "--target-dir"])
        .arg(profile_dir.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    expect_code(&output, 0);
    let messages = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    let mut built = messages.map(Result::unwrap).filter(|message| {
        message["reason"] == "compiler-artifact" && message["target"]["name"] == "evil"
    });
    PathBuf::from(built.next().unwrap()["executable"].as_str().unwrap())
}

/// The seed of a key of a simulated node: purpose 1 signs votes, purpose 2 handshakes.
fn seed_of(purpose: u8, node: usize) -> [u8; 32] {
    let mut seed = [purpose; 32];
    seed[..2].copy_from_slice(&u16::try_from(node).unwrap().to_le_bytes());
    seed
}

impl Cluster {
    /// Files of a cluster of which some members have the keys of simulated nodes. Starts nothing.
    pub(crate) fn make_with_liars(m: u8, n: u8, liars: &[usize]) -> Self {
        let cluster = Self::make(m, n, "4KiB");
        let dir = cluster.dir.path();
        let mut init: Vec<_> =
            ["init", "-m", &m.to_string(), "--chunk-bytes", "4KiB"].map(PathBuf::from).into();
        init.extend([PathBuf::from("--operator-key"), dir.join("operator.key")]);
        init.extend([PathBuf::from("--out"), dir.join("cluster.json"), PathBuf::from("--join")]);
        for (node, port) in cluster.ports.iter().enumerate() {
            let (name, address) = (format!("node{}", node + 1), format!("127.0.0.1:{port}"));
            let key = dir.join(&name).join("node.key");
            let request = dir.join(&name).join("join.json");
            std::fs::remove_file(&key).unwrap();
            if liars.contains(&node) {
                let (vote, transport) = (seed_of(1, node), seed_of(2, node));
                write(&key, &node_key(&name, &address, vote, transport));
                write(&request, &join_request(&name, &address, vote, transport));
            } else {
                let made = ["keygen", "node", "--name", &name, "--address", &address, "--out"];
                let made: Vec<PathBuf> = made.map(PathBuf::from).into();
                let files = [key, "--request".into(), request.clone()];
                expect_code(&run(made.into_iter().chain(files)), 0);
            }
            init.push(request);
        }
        std::fs::remove_file(dir.join("cluster.json")).unwrap();
        expect_code(&run(init), 0);
        // The client's grant is of the cluster that was made first.
        let granted = cluster.client(["grant", "client.key", "--operator-key", "operator.key"]);
        expect_code(&granted, 0);
        cluster
    }
}

fn write(path: &Path, value: &Value) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path);
    serde_json::to_writer(file.unwrap(), value).unwrap();
}

/// As `avid keygen node` writes it.
fn node_key(name: &str, address: &str, vote: [u8; 32], transport: [u8; 32]) -> Value {
    json!({
        "format": "avid-node-key", "version": 1, "name": name, "address": address,
        "vote_seed": hex::encode(vote), "transport_seed": hex::encode(transport),
    })
}

/// As `avid keygen node` signs it.
fn join_request(name: &str, address: &str, vote: [u8; 32], transport: [u8; 32]) -> Value {
    let [vote, transport] = [vote, transport].map(SigningKey::from_seed);
    let mut message = Encoder::new();
    message.u8(14);
    message.bytes(b"avidfp/join/v1");
    for text in [name, address, ""] {
        message.long_bytes(text.as_bytes());
    }
    vote.public().encode(&mut message);
    transport.public().encode(&mut message);
    let message = message.into_vec();
    json!({
        "format": "avid-join-request", "version": 1, "name": name, "address": address,
        "vote_key": vote.public(), "transport_key": transport.public(),
        "vote_signature": vote.sign(&message), "transport_signature": transport.sign(&message),
    })
}
