//! Runs the built binary, and clusters of it. Every process is killed when its owner is dropped.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for anything that must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The binary, with an environment of its own.
pub(crate) fn avid() -> Command {
    command(Path::new(env!("CARGO_BIN_EXE_avid")))
}

/// A program without the variables of whoever runs the tests.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for name in ["AVID_CLUSTER", "AVID_KEY", "AVID_LOG"] {
        command.env_remove(name);
    }
    command
}

/// Runs to the end with these arguments.
pub(crate) fn run<I: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = I>) -> Output {
    avid().args(arguments).stdin(Stdio::null()).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Fails with everything the program said unless it ended with this code.
#[track_caller]
pub(crate) fn expect_code(output: &Output, code: i32) {
    let found = output.status.code();
    assert_eq!(found, Some(code), "stdout: {}\nstderr: {}", stdout(output), stderr(output));
}

/// Asks until the answer is yes.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        std::thread::yield_now();
    }
}

/// Bytes that look random and are the same in every run.
pub(crate) fn bytes(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..count).map(|_| next()).collect()
}

/// A cluster of real processes on loopback.
pub(crate) struct Cluster {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) ports: Vec<u16>,
    nodes: Vec<Option<Child>>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.nodes.iter_mut().flatten() {
            // Already gone is as good.
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

impl Cluster {
    /// Starts `n` nodes with small chunks, so that edges are near, and waits until they vote.
    pub(crate) fn start(m: u8, n: u8) -> Self {
        let mut cluster = Self::make(m, n, "4KiB");
        cluster.start_all();
        cluster
    }

    /// Keys, configuration and ports of `n` nodes. Starts nothing.
    pub(crate) fn make(m: u8, n: u8, chunk_bytes: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (first, ports) = free_ports(n);
        let made = run([
            "init",
            "--nodes",
            &n.to_string(),
            "-m",
            &m.to_string(),
            "--dir",
            dir.path().to_str().unwrap(),
            "--base-port",
            &first.to_string(),
            "--chunk-bytes",
            chunk_bytes,
        ]);
        expect_code(&made, 0);
        let nodes = ports.iter().map(|_| None).collect();
        Self { dir, ports, nodes }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `host:port` of every node, as the seed's `-peers` has them.
    pub(crate) fn peers(&self) -> String {
        let peers: Vec<_> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        peers.join(",")
    }

    pub(crate) fn start_all(&mut self) {
        for node in 0..self.nodes.len() {
            self.start_node(node);
        }
        let n = self.nodes.len();
        self.wait_for(n);
    }

    /// Starts one node and waits for its ready line.
    pub(crate) fn start_node(&mut self, node: usize) {
        self.start_node_under(node, avid());
    }

    /// The same through a program that becomes `avid` and is given its arguments.
    pub(crate) fn start_node_under(&mut self, node: usize, program: Command) {
        let mut child = self.spawn_node(node, program);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        // Whoever panics here leaves no process behind.
        self.nodes[node] = Some(child);
        let log = self.path(&format!("node{}/log", node + 1));
        let said = std::fs::read_to_string(log).unwrap();
        assert!(line.contains("is ready on"), "node{} did not start: {said}", node + 1);
    }

    /// The process of a node, of which nobody knows yet how far it is.
    pub(crate) fn spawn_node(&self, node: usize, mut program: Command) -> Child {
        let directory = self.path(&format!("node{}", node + 1));
        let log =
            std::fs::File::options().create(true).append(true).open(directory.join("log")).unwrap();
        program
            .args(["serve", "--exit-with-stdin", "--cluster"])
            .arg(self.path("cluster.json"))
            .arg("--key")
            .arg(directory.join("node.key"))
            .arg("--data")
            .arg(directory.join("data"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Waits until `count` nodes vote.
    pub(crate) fn wait_for(&self, count: usize) {
        eventually(&format!("{count} nodes vote"), || {
            let status: Value =
                serde_json::from_slice(&self.client(["--json", "status"]).stdout).unwrap();
            let nodes = status["nodes"].as_array();
            let votes = |node: &&Value| node["status"]["voting"] == true;
            nodes.is_some_and(|nodes| nodes.iter().filter(votes).count() >= count)
        });
    }

    /// SIGKILL, as a power failure would.
    pub(crate) fn kill(&mut self, node: usize) {
        let mut child = self.nodes[node].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGKILL to all of them at once; [`Cluster::kill_all`] takes note.
    pub(crate) fn strike_all(&self) {
        for child in self.nodes.iter().flatten() {
            let pid = rustix::process::Pid::from_child(child);
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
    }

    /// SIGKILL to all of them, then waits until they are gone.
    pub(crate) fn kill_all(&mut self) {
        let mut running: Vec<_> = self.nodes.iter_mut().filter_map(Option::take).collect();
        for child in &mut running {
            child.kill().unwrap();
        }
        for mut child in running {
            child.wait().unwrap();
        }
    }

    /// SIGTERM, as a supervisor sends it; returns the exit code.
    pub(crate) fn terminate(&mut self, node: usize) -> Option<i32> {
        let mut child = self.nodes[node].take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        child.wait().unwrap().code()
    }

    /// Process id of a running node.
    pub(crate) fn pid(&self, node: usize) -> u32 {
        self.nodes[node].as_ref().unwrap().id()
    }

    /// State of an object as `avid stat` has it; `None` if nothing is known.
    pub(crate) fn state(&self, id: &str) -> Option<String> {
        let stat = self.client(["--json", "stat", id]);
        let stat: Value = serde_json::from_slice(&stat.stdout).unwrap();
        stat["state"].as_str().map(str::to_owned)
    }

    /// Closes a node's stdin, which asks it to stop, and returns its exit code.
    pub(crate) fn stop(&mut self, node: usize) -> Option<i32> {
        let mut child = self.nodes[node].take().unwrap();
        drop(child.stdin.take());
        child.wait().unwrap().code()
    }

    /// Runs client commands; independent of the nodes' processes.
    pub(crate) fn user(&self) -> User {
        User(self.dir.path().to_owned())
    }

    /// A client command, not run yet.
    pub(crate) fn command(&self) -> Command {
        self.user().command()
    }

    /// Runs a client command to its end.
    pub(crate) fn client<I: AsRef<std::ffi::OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = I>,
    ) -> Output {
        self.user().client(arguments)
    }

    /// The same, with bytes on stdin.
    pub(crate) fn client_with<I: AsRef<std::ffi::OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = I>,
        input: &[u8],
    ) -> Output {
        self.user().client_with(arguments, input)
    }

    /// Starts a dispersal from stdin, of which nobody reads the output.
    pub(crate) fn disperse_begun(&self, id: &str) -> (Child, std::process::ChildStdin) {
        let mut child = self
            .command()
            .args(["disperse", "-", "--id", id])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        (child, stdin)
    }

    /// Stores bytes from stdin under an id; all fragments placed.
    #[track_caller]
    pub(crate) fn put(&self, id: &str, content: &[u8]) {
        let output =
            self.client_with(["disperse", "-", "--id", id, "--require", "placed"], content);
        expect_code(&output, 0);
    }

    /// Gets an object through stdout.
    #[track_caller]
    pub(crate) fn get(&self, id: &str) -> Vec<u8> {
        let output = self.client(["retrieve", id, "--out", "-"]);
        expect_code(&output, 0);
        output.stdout
    }

    /// Whole fragment files of a node.
    pub(crate) fn fragments(&self, node: usize) -> Vec<PathBuf> {
        self.fragments_seen_from(Path::new("/"), node)
    }

    /// The same below the root directory of a process with mounts of its own.
    pub(crate) fn fragments_seen_from(&self, root: &Path, node: usize) -> Vec<PathBuf> {
        let data = self.path(&format!("node{}/data/fragments", node + 1));
        let root = root.join(data.strip_prefix("/").unwrap());
        let mut found = Vec::new();
        for directory in std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()) {
            if directory.ends_with("tmp") || !directory.is_dir() {
                continue;
            }
            found.extend(std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()));
        }
        found
    }
}

/// Somebody who uses a cluster, in its directory.
pub(crate) struct User(PathBuf);

impl User {
    /// A client command, not run yet.
    pub(crate) fn command(&self) -> Command {
        let mut command = avid();
        command.env("AVID_CLUSTER", self.0.join("cluster.json"));
        command.env("AVID_KEY", self.0.join("client.key"));
        command.current_dir(&self.0);
        command
    }

    /// Runs a client command to its end.
    pub(crate) fn client<I: AsRef<std::ffi::OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = I>,
    ) -> Output {
        self.command().args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// The same, with bytes on stdin.
    pub(crate) fn client_with<I: AsRef<std::ffi::OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = I>,
        input: &[u8],
    ) -> Output {
        let mut child = self
            .command()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            // A program that stops reading has said why.
            scope.spawn(move || drop(stdin.write_all(input)));
            let mut output = Vec::new();
            let mut complaint = Vec::new();
            let mut errors = child.stderr.take().unwrap();
            let reader = scope.spawn(move || {
                errors.read_to_end(&mut complaint).unwrap();
                complaint
            });
            child.stdout.take().unwrap().read_to_end(&mut output).unwrap();
            let status = child.wait().unwrap();
            Output { status, stdout: output, stderr: reader.join().unwrap() }
        })
    }
}

/// Consecutive free ports below the range of outgoing connections.
fn free_ports(count: u8) -> (u16, Vec<u16>) {
    let start = u16::try_from(std::process::id() % 10_000).unwrap() + 10_000;
    for first in (start..20_000).chain(10_000..start).step_by(64) {
        let ports: Vec<u16> = (first..first + u16::from(count)).collect();
        // A block stays ours while the process lives: the lock names it for other tests.
        let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
        if ports.iter().all(is_free) && claim(first) {
            return (first, ports);
        }
    }
    panic!("no {count} free ports in a row");
}

/// Whether no other test of this process took the block.
fn claim(first: u16) -> bool {
    static TAKEN: std::sync::Mutex<Vec<u16>> = std::sync::Mutex::new(Vec::new());
    let mut taken = TAKEN.lock().unwrap();
    let is_new = !taken.contains(&first);
    taken.push(first);
    is_new
}
