//! Dependency policy: how many, under which licence.
//!
//! Not here: sources and duplicate versions (`deny.toml`, for those who have cargo-deny).

use crate::layers::{is_pure, short_name};
use crate::licence;
use crate::{Metadata, Report};

/// Direct dependencies of a pure crate, ours included: more is a crate that does two things.
const PURE_DEPENDENCIES_MAX: usize = 10;

/// Checks licences of the whole graph and the size of the pure crates' lists.
#[must_use]
pub fn check(metadata: &Metadata) -> Report {
    let mut report = Report::default();
    for package in &metadata.packages {
        let name = format!("{} {}", package.name, package.version);
        match &package.license {
            None => report.error(format!("{name} states no licence")),
            Some(expression) if !licence::is_allowed(expression) => {
                report.error(format!("{name} is under \"{expression}\", which is not allowed"));
            }
            Some(_) => {}
        }
    }
    for package in metadata.members().filter(|package| is_pure(short_name(&package.name))) {
        let count = package.shipped_dependencies().count();
        if count > PURE_DEPENDENCIES_MAX {
            report.error(format!(
                "{} has {count} direct dependencies, a pure crate may have {PURE_DEPENDENCIES_MAX}",
                package.name
            ));
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::fixture;

    const TEN: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

    #[test]
    fn ten_dependencies_of_a_pure_crate_pass_and_eleven_do_not() {
        let mut eleven = TEN.to_vec();
        assert_eq!(check(&fixture::workspace(&[("avid-types", &TEN)])), Report::default());
        eleven.push("k");
        assert_eq!(check(&fixture::workspace(&[("avid-types", &eleven)])).errors.len(), 1);
        assert_eq!(check(&fixture::workspace(&[("avid-net", &eleven)])), Report::default());
    }

    #[test]
    fn dependencies_of_tests_do_not_count() {
        let mut metadata = fixture::workspace(&[("avid-types", &TEN)]);
        metadata.packages[0].dependencies.push(fixture::dependency("proptest", Some("dev")));
        assert_eq!(check(&metadata), Report::default());
    }

    #[test]
    fn licences_of_foreign_packages_are_checked() {
        let mut metadata = fixture::workspace(&[("avid-types", &[])]);
        let mut foreign = fixture::package("copyleft", &[]);
        foreign.license = Some("MPL-2.0".to_owned());
        metadata.packages.push(foreign);
        let mut silent = fixture::package("silent", &[]);
        silent.license = None;
        metadata.packages.push(silent);
        assert_eq!(
            check(&metadata).errors,
            [
                "copyleft 1.0.0 is under \"MPL-2.0\", which is not allowed",
                "silent 1.0.0 states no licence"
            ]
        );
    }
}
