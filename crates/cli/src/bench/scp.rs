//! `scp` over loopback, through an unprivileged sshd of our own with throw-away keys.
//!
//! Nothing of the user's ssh configuration is read or changed, and the sshd ends with us.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::error::{CliError, Kind};
use crate::local::free_ports;

/// How long our sshd may take to answer.
const READY_WAIT_MAX: Duration = Duration::from_secs(10);
/// How often we ask.
const READY_POLL: Duration = Duration::from_millis(50);
/// Where distributions keep sshd; it wants to be started by its full path.
const SSHD_PATHS: [&str; 4] =
    ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd", "/opt/homebrew/sbin/sshd"];
/// What to do when something is missing.
const INSTALL: &str = "install openssh-server and openssh-client";

/// A running sshd and how to reach it.
#[derive(Debug)]
pub(crate) struct Scp {
    /// Killed when dropped.
    _sshd: Child,
    dir: PathBuf,
    port: u16,
    cipher: String,
}

impl Scp {
    /// Starts an sshd with fresh keys in `dir`.
    ///
    /// # Errors
    ///
    /// Why scp cannot be measured here, for people.
    pub(crate) async fn start(dir: &Path) -> Result<Self, String> {
        let sshd = SSHD_PATHS.into_iter().find(|path| Path::new(path).exists());
        let sshd = sshd.ok_or_else(|| INSTALL.to_owned())?;
        std::fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        for key in ["host", "client"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.join(key));
            run(&mut keygen).await?;
        }
        let authorized = std::fs::copy(dir.join("client.pub"), dir.join("authorized"));
        authorized.map_err(|error| format!("{}: {error}", dir.display()))?;
        let ports = free_ports(1).map_err(|error| error.message)?;
        let port = *ports.first().ok_or("no free port")?;
        let config = dir.join("sshd_config");
        std::fs::write(&config, sshd_config(dir, port)?)
            .map_err(|error| format!("{}: {error}", config.display()))?;
        let log = std::fs::File::create(dir.join("log"));
        let log = log.map_err(|error| format!("{}: {error}", dir.display()))?;
        let child = Command::new(sshd)
            .args(["-D", "-e", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{sshd} does not start: {error}"))?;
        let mut scp = Self { _sshd: child, dir: dir.to_owned(), port, cipher: String::new() };
        scp.cipher = scp.connect().await?;
        Ok(scp)
    }

    /// The cipher both sides agreed on.
    pub(crate) fn cipher(&self) -> &str {
        &self.cipher
    }

    /// Copies a file over ssh and loopback.
    ///
    /// # Errors
    ///
    /// [`CliError`] with what scp said.
    pub(crate) async fn copy(&self, from: &Path, to: &Path) -> Result<(), CliError> {
        let mut scp = Command::new("scp");
        scp.args(self.options("-P")).arg("-q").arg(from).arg(format!("127.0.0.1:{}", to.display()));
        run(&mut scp).await.map(drop).map_err(|why| CliError::new(Kind::Other, why))
    }

    /// Tries until the sshd answers; returns the cipher.
    async fn connect(&self) -> Result<String, String> {
        let deadline = Instant::now() + READY_WAIT_MAX;
        loop {
            let mut ssh = Command::new("ssh");
            ssh.args(self.options("-p")).args(["-v", "127.0.0.1", "true"]);
            match run(&mut ssh).await {
                Ok(output) => return Ok(cipher_of(&String::from_utf8_lossy(&output.stderr))),
                Err(why) if Instant::now() > deadline => {
                    let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                    let last = log.lines().last().unwrap_or_default();
                    if last.contains("privilege separation directory") {
                        return Err(format!("{last}; as root, `mkdir -m 755 /run/sshd` once"));
                    }
                    return Err(format!("our own sshd does not let us in: {why}; {last}"));
                }
                Err(_not_yet) => tokio::time::sleep(READY_POLL).await,
            }
        }
    }

    fn options(&self, port_flag: &str) -> Vec<String> {
        let key = self.dir.join("client");
        let mut options: Vec<String> =
            ["-F", "/dev/null", "-o", "BatchMode=yes"].map(str::to_owned).into();
        for option in [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "IdentitiesOnly=yes",
            "Compression=no",
        ] {
            options.extend(["-o".to_owned(), option.to_owned()]);
        }
        options.extend(["-i".to_owned(), key.display().to_string()]);
        options.extend([port_flag.to_owned(), self.port.to_string()]);
        options
    }
}

fn sshd_config(dir: &Path, port: u16) -> Result<String, String> {
    let shown = dir.display().to_string();
    if shown.chars().any(|c| c.is_whitespace() || c == '"') {
        return Err("the working directory has a space in its name".to_owned());
    }
    Ok(format!(
        "ListenAddress 127.0.0.1\nPort {port}\nHostKey {shown}/host\n\
         AuthorizedKeysFile {shown}/authorized\nPidFile none\nStrictModes no\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
         Subsystem sftp internal-sftp\n"
    ))
}

/// Runs a program to its end; its complaint is the error.
async fn run(command: &mut Command) -> Result<Output, String> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.map_err(|error| format!("{name}: {error}; {INSTALL}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let last = complaint.lines().last().unwrap_or("no message");
    Err(format!("{name} ended with {}: {last}", output.status))
}

fn cipher_of(diagnostics: &str) -> String {
    let line = diagnostics.lines().find(|line| line.contains("client->server cipher: "));
    let cipher = line.and_then(|line| line.split("cipher: ").nth(1));
    cipher.map_or_else(
        || "unknown".to_owned(),
        |rest| rest.split(' ').next().unwrap_or(rest).to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cipher_is_found_in_what_ssh_says() {
        let line =
            "debug1: kex: client->server cipher: chacha20-poly1305@openssh.com MAC: <implicit>";
        assert_eq!(cipher_of(line), "chacha20-poly1305@openssh.com");
        assert_eq!(cipher_of(""), "unknown");
    }
}
