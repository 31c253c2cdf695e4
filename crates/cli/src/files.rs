//! Key and cluster files: JSON that says what it is, checked before it is believed.
//!
//! ```text
//! { "format": "avid-node-key", "version": 1, ...fields of the kind }
//! ```
//! A file of another kind, of a later version, or with a field nobody knows is refused with what
//! was expected. Secrets are written with mode 0600, and reading one that others may read warns.
//!
//! | format | type | secret |
//! |---|---|---|
//! | `avid-node-key` | [`node_key::NodeKey`] | yes |
//! | `avid-join-request` | [`join::JoinRequest`] | |
//! | `avid-cluster` | [`cluster_file::ClusterFile`] | |
//! | `avid-client-key` | [`client_key::ClientKey`] | yes |
//! | `avid-grant` | [`client_key::GrantFile`] | |
//! | `avid-operator-key` | [`operator_key::OperatorKey`] | yes |
//! | `avid-node-settings` | [`settings::NodeSettings`] | |
//!
//! Drawn in docs/formats.md, "Key and cluster files".
//! Bounds: [`FILE_BYTES_MAX`] are read of any file.
//! Not here: which file a run uses ([`crate::config`]).

pub(crate) mod client_key;
pub(crate) mod cluster_file;
pub(crate) mod join;
pub(crate) mod node_key;
pub(crate) mod operator_key;
pub(crate) mod seed;
pub(crate) mod settings;

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{CliError, Kind};

/// Most bytes read of a key or cluster file: the largest cluster, written at leisure, fits thrice.
pub(crate) const FILE_BYTES_MAX: u64 = 16 << 20;

/// Who may read a file we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secrecy {
    /// Mode 0600.
    Secret,
    /// Mode 0644.
    Public,
}

impl Secrecy {
    fn mode(self) -> u32 {
        match self {
            Self::Secret => 0o600,
            Self::Public => 0o644,
        }
    }
}

/// One kind of file.
pub(crate) trait FileKind: Serialize + DeserializeOwned {
    /// The value of `format`.
    const FORMAT: &'static str;
    /// Newest version, which is also the one written.
    const VERSION: u64;
    /// What people call it.
    const WHAT: &'static str;
    /// Whether it contains a secret.
    const SECRECY: Secrecy;
    /// The command that makes one.
    const MADE_BY: &'static str;
}

/// A file that was read, and what its owner should hear about it.
#[derive(Debug)]
pub(crate) struct Loaded<T> {
    /// The content.
    pub(crate) value: T,
    /// Permissions that let others read a secret.
    pub(crate) warning: Option<String>,
}

/// Reads a file of the kind `T`.
///
/// # Errors
///
/// [`CliError`] naming the file and what is wrong with it.
pub(crate) fn load<T: FileKind>(path: &Path) -> Result<Loaded<T>, CliError> {
    let doing = format!("read the {}", T::WHAT);
    let on_io = |source: std::io::Error| {
        CliError::file(&doing, path, &source).hint(format!("{} makes one", T::MADE_BY))
    };
    let file = File::open(path).map_err(on_io)?;
    let metadata = file.metadata().map_err(on_io)?;
    if metadata.is_dir() {
        return Err(CliError::usage(format!("{} is a directory, not a file", path.display())));
    }
    let mut text = zeroize::Zeroizing::new(String::new());
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|source| {
        if source.kind() == std::io::ErrorKind::InvalidData {
            return not_this_kind::<T>(path, "it is not UTF-8 text");
        }
        on_io(source)
    })?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(not_this_kind::<T>(path, "it is longer than 16 MiB"));
    }
    let value = parse::<T>(path, &text)?;
    let mode = metadata.permissions().mode() & 0o777;
    let is_open = T::SECRECY == Secrecy::Secret && mode & 0o077 != 0;
    let warning = is_open.then(|| {
        format!(
            "{} holds a secret and other users may read it (mode {mode:03o}); \
             run `chmod 600 {}`",
            path.display(),
            path.display()
        )
    });
    Ok(Loaded { value, warning })
}

fn parse<T: FileKind>(path: &Path, text: &str) -> Result<T, CliError> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| not_this_kind::<T>(path, &format!("it is not JSON ({error})")))?;
    let Value::Object(mut fields) = value else {
        return Err(not_this_kind::<T>(path, "it is JSON, but not an object"));
    };
    match fields.remove("format") {
        Some(Value::String(format)) if format == T::FORMAT => {}
        Some(Value::String(format)) => {
            return Err(not_this_kind::<T>(path, &format!("it is of format \"{format}\"")));
        }
        Some(_) | None => return Err(not_this_kind::<T>(path, "it has no \"format\"")),
    }
    match fields.remove("version").as_ref().and_then(Value::as_u64) {
        Some(version) if version == T::VERSION => {}
        Some(version) => {
            let text = format!("it has version {version}, this build reads {}", T::VERSION);
            return Err(not_this_kind::<T>(path, &text)
                .hint("use the release of avid that wrote it, or a newer one"));
        }
        None => return Err(not_this_kind::<T>(path, "it has no \"version\"")),
    }
    serde_json::from_value(Value::Object(fields))
        .map_err(|error| not_this_kind::<T>(path, &error.to_string()))
}

fn not_this_kind<T: FileKind>(path: &Path, why: &str) -> CliError {
    CliError::usage(format!("{} is not a usable {}: {why}", path.display(), T::WHAT))
        .hint(format!("{} makes one", T::MADE_BY))
}

/// A file as it is written: what it is comes first.
#[derive(Serialize)]
struct Outgoing<'a, T> {
    format: &'static str,
    version: u64,
    #[serde(flatten)]
    fields: &'a T,
}

/// The text of a file of the kind `T`.
///
/// # Errors
///
/// [`CliError`] if the value has no JSON form.
pub(crate) fn to_text<T: FileKind>(value: &T) -> Result<String, CliError> {
    let file = Outgoing { format: T::FORMAT, version: T::VERSION, fields: value };
    let text = serde_json::to_string_pretty(&file).map_err(|error| {
        CliError::new(Kind::Other, format!("cannot write a {}: {error}", T::WHAT))
    })?;
    Ok(text + "\n")
}

/// Writes a new file, durably. An existing one is never touched: it may be the only copy of a key.
///
/// # Errors
///
/// [`CliError`] if it exists or cannot be written.
pub(crate) fn create<T: FileKind>(path: &Path, value: &T) -> Result<(), CliError> {
    let text = zeroize::Zeroizing::new(to_text(value)?);
    create_text(path, &text, T::SECRECY)
}

/// Writes a new text file, durably.
///
/// # Errors
///
/// [`CliError`] if it exists or cannot be written.
pub(crate) fn create_text(path: &Path, text: &str, secrecy: Secrecy) -> Result<(), CliError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(secrecy.mode())
        .open(path)
        .map_err(|source| CliError::file("create", path, &source))?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if let Err(source) = written {
        // Ours and incomplete: nobody may take it for a key.
        drop(std::fs::remove_file(path));
        return Err(CliError::file("write", path, &source));
    }
    sync_parent(path)
}

/// Replaces a file of the same kind atomically: the old content stays until the new is durable.
///
/// # Errors
///
/// [`CliError`] if it cannot be written; the old content is intact then.
pub(crate) fn replace<T: FileKind>(path: &Path, value: &T) -> Result<(), CliError> {
    let text = zeroize::Zeroizing::new(to_text(value)?);
    let on_io = |source: std::io::Error| CliError::file("replace", path, &source);
    let mut file = tempfile::NamedTempFile::new_in(parent(path)).map_err(on_io)?;
    file.write_all(text.as_bytes()).map_err(on_io)?;
    let mode = std::fs::Permissions::from_mode(T::SECRECY.mode());
    file.as_file().set_permissions(mode).map_err(on_io)?;
    file.as_file().sync_all().map_err(on_io)?;
    file.persist(path).map_err(|error| on_io(error.error))?;
    sync_parent(path)
}

/// The directory a file is in.
#[must_use]
pub(crate) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

/// Makes a new or renamed directory entry durable.
///
/// # Errors
///
/// [`CliError`] if the directory cannot be synced.
pub(crate) fn sync_parent(path: &Path) -> Result<(), CliError> {
    let directory = parent(path);
    File::open(&directory)
        .and_then(|file| file.sync_all())
        .map_err(|source| CliError::file("sync", &directory, &source))
}

#[cfg(test)]
mod tests;
