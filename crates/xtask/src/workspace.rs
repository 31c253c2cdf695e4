//! The text of the repository, read once and handed to every check.
//!
//! Not here: what cargo knows about crates (`metadata`).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::source::SourceFile;

/// Directories that hold what nobody wrote, or what is kept byte for byte.
const SKIPPED_DIRECTORIES: [&str; 4] = ["target", "testdata", "proptest-regressions", ".git"];
/// Hidden entries that are ours.
const HIDDEN: [&str; 5] = [".ci", ".cargo", ".github", ".gitignore", ".editorconfig"];
/// Files that are text by their ending.
const TEXT_ENDINGS: [&str; 6] = [".rs", ".toml", ".md", ".sh", ".yml", ".json"];
/// Files that are text by their name.
const TEXT_NAMES: [&str; 4] = ["run", "LICENSE", ".gitignore", ".editorconfig"];

/// One text file.
#[derive(Clone, Debug)]
pub struct TextFile {
    /// Path from the workspace root, with `/`.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// Every text file, and the Rust files among them taken apart.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    /// All text files by path.
    pub files: Vec<TextFile>,
    /// The Rust files by path.
    pub sources: Vec<SourceFile>,
}

impl Workspace {
    /// Builds a workspace from paths and contents.
    pub fn new(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut files: Vec<_> =
            files.into_iter().map(|(path, text)| TextFile { path, text }).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut sources: Vec<_> = files
            .iter()
            .filter(|file| file.path.ends_with(".rs"))
            .map(|file| SourceFile::parse(&file.path, &file.text))
            .collect();
        mark_test_modules(&mut sources);
        Self { files, sources }
    }

    /// Reads the workspace below `root`.
    ///
    /// # Errors
    ///
    /// A directory or file that cannot be read, or a text file that is not UTF-8.
    pub fn load(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        collect(root, "", &mut files)?;
        Ok(Self::new(files))
    }

    /// The content of one file.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }
}

/// The nearest directory at or above `start` whose `Cargo.toml` is a workspace.
///
/// # Errors
///
/// No such directory exists.
pub fn find_root(start: &Path) -> Result<PathBuf> {
    for directory in start.ancestors() {
        let manifest = fs::read_to_string(directory.join("Cargo.toml")).unwrap_or_default();
        if manifest.lines().any(|line| line.trim() == "[workspace]") {
            return Ok(directory.to_owned());
        }
    }
    bail!("no Cargo.toml with [workspace] at or above {}", start.display())
}

fn collect(directory: &Path, prefix: &str, files: &mut Vec<(String, String)>) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", directory.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') && !HIDDEN.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().with_context(|| format!("cannot look at {path}"))?;
        if kind.is_dir() {
            if !SKIPPED_DIRECTORIES.contains(&name.as_str()) {
                collect(&entry.path(), &format!("{path}/"), files)?;
            }
        } else if kind.is_file() && is_text(&name) {
            let text = fs::read_to_string(entry.path())
                .with_context(|| format!("cannot read {path} as UTF-8 text"))?;
            files.push((path, text));
        }
    }
    Ok(())
}

fn is_text(name: &str) -> bool {
    TEXT_NAMES.contains(&name) || TEXT_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Marks the files of modules that their parent declares for tests only.
fn mark_test_modules(sources: &mut [SourceFile]) {
    let stems: Vec<String> = sources
        .iter()
        .flat_map(|file| file.test_modules.iter().map(|module| file.child_path(module)))
        .collect();
    for file in sources {
        let inside = |stem: &String| {
            file.path
                .strip_prefix(stem.as_str())
                .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        if stems.iter().any(inside) {
            file.mark_all_as_test();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_declared_for_tests_is_test_code_in_its_own_file() {
        let workspace = Workspace::new([
            ("a/src/lib.rs".to_owned(), "#[cfg(test)]\nmod kit;\nmod kitchen;\n".to_owned()),
            ("a/src/kit.rs".to_owned(), "fn a() {}\n".to_owned()),
            ("a/src/kit/deep.rs".to_owned(), "fn a() {}\n".to_owned()),
            ("a/src/kitchen.rs".to_owned(), "fn a() {}\n".to_owned()),
        ]);
        let tests: Vec<_> =
            workspace.sources.iter().filter(|f| f.lines[0].test).map(|f| f.path.as_str()).collect();
        assert_eq!(tests, ["a/src/kit.rs", "a/src/kit/deep.rs", "a/src/lib.rs"]);
    }
}
