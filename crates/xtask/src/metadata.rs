//! The part of `cargo metadata` that the checks read.
//!
//! Cargo has already parsed the manifests, resolved workspace inheritance and renames, and looked
//! up every licence; reading its answer beats parsing TOML a second time, differently.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// Answer of `cargo metadata --format-version 1`.
#[derive(Clone, Debug, Deserialize)]
pub struct Metadata {
    /// Every package of the dependency graph.
    pub packages: Vec<Package>,
    /// Ids of our own packages.
    pub workspace_members: Vec<String>,
}

/// One package.
#[derive(Clone, Debug, Deserialize)]
pub struct Package {
    /// Its id, opaque.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence expression, if the manifest has one.
    pub license: Option<String>,
    /// What it declares to depend on.
    pub dependencies: Vec<Dependency>,
}

/// One declared dependency.
#[derive(Clone, Debug, Deserialize)]
pub struct Dependency {
    /// Name of the package, also where the manifest renames it.
    pub name: String,
    /// `None` is an ordinary one; otherwise "dev" or "build".
    pub kind: Option<String>,
}

impl Metadata {
    /// Reads cargo's JSON.
    ///
    /// # Errors
    ///
    /// The text is not what cargo documents.
    pub fn parse(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json).context("cargo metadata has another shape than expected")
    }

    /// Asks cargo, for the platform that `cargo` itself runs on.
    ///
    /// # Errors
    ///
    /// Cargo cannot be run or refuses the workspace.
    pub fn load(cargo: &Path, root: &Path) -> Result<Self> {
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--filter-platform", &host(cargo)?])
            .current_dir(root)
            .output()
            .context("cannot run cargo metadata")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cargo metadata failed: {complaint}");
        Self::parse(&output.stdout)
    }

    /// Our own packages.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }
}

impl Package {
    /// Names of the packages that end up in a build of this one; tests' own are left out.
    pub fn shipped_dependencies(&self) -> impl Iterator<Item = &str> {
        self.dependencies
            .iter()
            .filter(|dependency| dependency.kind.as_deref() != Some("dev"))
            .map(|dependency| dependency.name.as_str())
    }
}

/// The target triple of this machine, as `cargo -vV` prints it.
fn host(cargo: &Path) -> Result<String> {
    let output = Command::new(cargo).arg("-vV").output().context("cannot run cargo -vV")?;
    let text = String::from_utf8(output.stdout).context("cargo -vV did not print UTF-8")?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("cargo -vV names no host")?.to_owned())
}

#[cfg(test)]
pub(crate) mod fixture {
    //! Made-up metadata for the tests of other modules.

    use super::{Dependency, Metadata, Package};

    /// A workspace of the given crates with their ordinary dependencies.
    pub(crate) fn workspace(crates: &[(&str, &[&str])]) -> Metadata {
        let packages: Vec<_> = crates.iter().map(|(name, uses)| package(name, uses)).collect();
        let workspace_members = packages.iter().map(|package| package.id.clone()).collect();
        Metadata { packages, workspace_members }
    }

    /// One package under MIT.
    pub(crate) fn package(name: &str, uses: &[&str]) -> Package {
        Package {
            id: format!("{name}#1"),
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: Some("MIT".to_owned()),
            dependencies: uses.iter().map(|name| dependency(name, None)).collect(),
        }
    }

    /// One declared dependency.
    pub(crate) fn dependency(name: &str, kind: Option<&str>) -> Dependency {
        Dependency { name: name.to_owned(), kind: kind.map(str::to_owned) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_answer_is_understood() {
        let metadata = Metadata::parse(include_bytes!("../testdata/metadata.json")).unwrap();
        let members: Vec<_> = metadata.members().map(|p| p.name.as_str()).collect();
        assert_eq!(members, ["avid-types"]);
        let shipped: Vec<_> = metadata.packages[0].shipped_dependencies().collect();
        assert_eq!(shipped, ["hex", "cc"]);
        assert_eq!(metadata.packages[1].license.as_deref(), Some("MIT OR Apache-2.0"));
    }

    #[test]
    fn other_json_is_refused() {
        assert!(Metadata::parse(b"{\"packages\": 3}").is_err());
    }
}
