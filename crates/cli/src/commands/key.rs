//! `avid key backup|restore`: an owner's key on paper.
//!
//! ```text
//! avid owner key backup 1
//! public 3b6a27bc ... (64 hexadecimal characters in groups of 8)
//! secret 9d61b19d ... (64 hexadecimal characters in groups of 8)
//! check  1a2b3c4d     (start of the SHA-256 of the secret's characters)
//! ```
//! Spaces and letter case do not matter, and other lines are ignored, so that it can be typed.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use avid_types::Digest;
use clap::Subcommand;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::app::Context;
use crate::error::{CliError, Kind};
use crate::files::client_key::ClientKey;
use crate::files::seed::Seed;
use crate::files::{create, load};

/// Longest backup read, bytes.
const BACKUP_BYTES_MAX: u64 = 64 << 10;
/// First line.
const TITLE: &str = "avid owner key backup 1";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Print the owner's key (--key) in a form to write down.
    Backup,
    /// Make a key file from a backup.
    Restore {
        /// The backup; - for stdin.
        #[arg(default_value = "-")]
        backup: PathBuf,
        /// Where the key file goes; must not exist.
        #[arg(long, value_name = "FILE", default_value = "client.key")]
        out: PathBuf,
    },
}

#[derive(Serialize)]
struct Restored {
    file: PathBuf,
    public_key: avid_types::PublicKey,
}

/// Backs up or restores.
///
/// # Errors
///
/// [`CliError`] if a file is unusable or the backup has a typing error.
pub(crate) fn run(context: &Context, args: KeyCommand) -> Result<(), CliError> {
    match args {
        KeyCommand::Backup => {
            let key = load::<ClientKey>(&context.paths.client_key()?)?.value;
            context.output.warn(
                "this is a secret: whoever has it can delete the owner's objects. Losing every \
                 copy means that the objects stay readable for ever and can never be deleted. \
                 Keep it on paper, apart from the machine.",
            );
            context.output.write(&to_backup(&key.seed))
        }
        KeyCommand::Restore { backup, out } => {
            let text = read_backup(&backup)?;
            let seed = from_backup(&text)?;
            let public_key = seed.key().public();
            create(&out, &ClientKey { seed, grant: None })?;
            context.output.note(
                "A backup has no grant: ask the operator for one (`avid grant`) with this key:",
            );
            context.output.result(&Restored { file: out, public_key }, &public_key.to_string())
        }
    }
}

fn read_backup(path: &Path) -> Result<Zeroizing<String>, CliError> {
    let on_io = |source| CliError::file("read the backup", path, &source);
    let mut text = Zeroizing::new(String::new());
    let source: Box<dyn std::io::Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(on_io)?)
    };
    source.take(BACKUP_BYTES_MAX).read_to_string(&mut text).map_err(on_io)?;
    Ok(text)
}

fn to_backup(seed: &Seed) -> Zeroizing<String> {
    let secret = seed.to_hex();
    Zeroizing::new(format!(
        "{TITLE}\npublic {}\nsecret {}\ncheck  {}\n",
        *grouped(&seed.key().public().to_string()),
        *grouped(&secret),
        check_of(&secret),
    ))
}

fn from_backup(text: &str) -> Result<Seed, CliError> {
    let wrong = |what: &str| {
        CliError::new(Kind::Integrity, format!("the backup {what}"))
            .hint("compare it with the paper, character by character")
    };
    if !text.lines().any(|line| line.trim().eq_ignore_ascii_case(TITLE)) {
        return Err(CliError::usage(format!("this is no backup: no line \"{TITLE}\""))
            .hint("`avid key backup` prints one"));
    }
    let secret =
        field(text, "secret").ok_or_else(|| wrong("has no line that starts with secret"))?;
    let seed = Seed::from_hex(&secret)
        .ok_or_else(|| wrong("needs 64 hexadecimal characters after secret"))?;
    if field(text, "check").is_none_or(|check| *check != check_of(&secret)) {
        return Err(wrong("has a typing error: its check does not match"));
    }
    let public =
        field(text, "public").ok_or_else(|| wrong("has no line that starts with public"))?;
    if *public != seed.key().public().to_string() {
        return Err(wrong("has a typing error: its public key is not that of the secret"));
    }
    Ok(seed)
}

/// What follows `name` on its line, without spaces, in lower case.
fn field(text: &str, name: &str) -> Option<Zeroizing<String>> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix(name)?;
        let kept = rest.chars().filter(|c| !c.is_whitespace());
        Some(Zeroizing::new(kept.map(|c| c.to_ascii_lowercase()).collect()))
    })
}

fn grouped(text: &str) -> Zeroizing<String> {
    let mut groups = Zeroizing::new(String::new());
    for (position, character) in text.chars().enumerate() {
        if position > 0 && position.is_multiple_of(8) {
            groups.push(' ');
        }
        groups.push(character);
    }
    groups
}

fn check_of(secret: &str) -> String {
    Digest::of(&[secret.as_bytes()]).to_string().chars().take(8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_restores_the_key() {
        let seed = Seed::draw().unwrap();
        let text = to_backup(&seed);
        assert_eq!(from_backup(&text).unwrap(), seed);
        let typed = text.to_uppercase().replace("PUBLIC", "public");
        let typed = typed.replace("SECRET", " secret").replace("CHECK", "check");
        assert_eq!(from_backup(&typed).unwrap(), seed);
    }

    #[test]
    fn every_single_typing_error_in_the_secret_is_found() {
        let seed = Seed::from_hex(&"0f".repeat(32)).unwrap();
        let text = to_backup(&seed).to_string();
        let start = text.find("secret ").unwrap() + 7;
        for at in start..start + 71 {
            let mut bytes = text.clone().into_bytes();
            if bytes[at] == b' ' {
                continue;
            }
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            assert!(from_backup(&String::from_utf8(bytes).unwrap()).is_err(), "position {at}");
        }
    }
}
