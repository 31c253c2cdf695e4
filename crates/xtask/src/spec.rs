//! Rule ids: the document and the code must know the same ones.
//!
//! A rule is declared in `docs/protocol.md` where a bullet or heading starts with its id in bold.
//! A rule is cited by a comment that says "Rule" or "Spec", a colon, and ids up to the end of the
//! line; a line that ends in a comma goes on in the next. Every cited rule must be declared, and
//! every declared rule be cited from production code (who obeys it?) and from a test (who would
//! notice?).

use std::collections::{BTreeMap, BTreeSet};

use crate::{Report, Workspace};

/// Where rules are declared.
const DOCUMENT: &str = "docs/protocol.md";
/// Words that announce ids.
const MARKERS: [&str; 4] = ["Rule:", "Rules:", "Spec:", "Specs:"];
/// What looks like an id and is the name of a standard.
const STANDARDS: [&str; 7] = ["AES", "AVX", "CVE", "RFC", "SHA", "UTF", "ZIP"];

/// Who cites a rule.
#[derive(Default)]
struct Cited {
    production: bool,
    test: bool,
}

/// Compares declared and cited rules.
#[must_use]
pub fn check(workspace: &Workspace) -> Report {
    let Some(document) = workspace.text(DOCUMENT) else {
        return Report::skipped("docs/protocol.md does not exist yet");
    };
    let mut report = Report::default();
    let mut declared = BTreeMap::new();
    for (number, id) in declarations(document) {
        if declared.insert(id.to_owned(), Cited::default()).is_some() {
            report.error(format!("{DOCUMENT}:{number}: {id} is declared twice"));
        }
    }
    if declared.is_empty() {
        report.error(format!("{DOCUMENT} declares no rule: start bullets with a bold id"));
    }
    for file in &workspace.sources {
        let counts = file.path.contains("/src/");
        for citation in citations(&file.lines) {
            match declared.get_mut(&citation.id) {
                None => report.error(format!(
                    "{}:{}: {} is not a rule of {DOCUMENT}",
                    file.path, citation.line, citation.id
                )),
                Some(cited) if citation.test => cited.test = true,
                Some(cited) => cited.production |= counts,
            }
        }
    }
    for (id, cited) in &declared {
        if !cited.production {
            report.error(format!("{id} is cited by no code outside tests"));
        }
        if !cited.test {
            report.error(format!("{id} is cited by no test"));
        }
    }
    report
}

/// The rules a document declares, with their lines.
fn declarations(document: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (number, line) in (1..).zip(document.lines()) {
        let line = line.trim_start();
        if line.starts_with("```") {
            in_code = !in_code;
        }
        if !in_code {
            found.extend(declaration(line).map(|id| (number, id)));
        }
    }
    found
}

fn declaration(line: &str) -> Option<&str> {
    let bullet = line.strip_prefix("- ").or_else(|| line.strip_prefix("* "));
    let heading = line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#'));
    let bold = bullet.or(heading)?.trim_start().strip_prefix("**")?;
    let word = bold.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next()?;
    is_id(word).then_some(word)
}

/// One id in one comment.
struct Citation {
    id: String,
    line: usize,
    test: bool,
}

fn citations(lines: &[crate::source::Line]) -> Vec<Citation> {
    let mut found = Vec::new();
    let mut continues = false;
    for (number, line) in (1..).zip(lines) {
        let comment = line.comment.trim_end();
        let cited = match after_marker(comment) {
            Some(rest) => rest,
            None if continues => comment,
            None => "",
        };
        continues = cited.ends_with(',');
        let ids = words(cited).filter(|word| is_id(word) && !is_standard(word));
        found.extend(ids.map(|id| Citation { id: id.to_owned(), line: number, test: line.test }));
    }
    found
}

/// The text behind the first marker of a comment.
fn after_marker(comment: &str) -> Option<&str> {
    let starts: BTreeSet<usize> = MARKERS
        .iter()
        .filter_map(|marker| comment.find(marker).map(|at| at + marker.len()))
        .collect();
    comment.get(*starts.first()?..)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
}

/// Two or more capitals, a hyphen, digits, at most one small letter.
fn is_id(word: &str) -> bool {
    let Some((name, number)) = word.split_once('-') else {
        return false;
    };
    let digits = number.strip_suffix(|c: char| c.is_ascii_lowercase()).unwrap_or(number);
    name.len() >= 2
        && name.chars().all(|c| c.is_ascii_uppercase())
        && !digits.is_empty()
        && digits.chars().all(|c| c.is_ascii_digit())
}

fn is_standard(id: &str) -> bool {
    id.split('-').next().is_some_and(|name| STANDARDS.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOC: &str = "docs/protocol.md";

    fn errors(files: &[(&str, &str)]) -> Vec<String> {
        let owned = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        check(&Workspace::new(owned)).errors
    }

    #[test]
    fn without_the_document_the_check_is_skipped_aloud() {
        let workspace =
            Workspace::new([("a/src/b.rs".to_owned(), "//! Rule: GONE-1.\n".to_owned())]);
        let report = check(&workspace);
        assert!(report.skipped.is_some());
        assert_eq!(report.errors, Vec::<String>::new());
    }

    #[test]
    fn a_rule_obeyed_and_tested_passes() {
        let code =
            "//! Spec: docs/protocol.md READY-1.\n#[cfg(test)]\nmod tests {\n// Rule: READY-1\n}\n";
        assert_eq!(errors(&[(DOC, "- **READY-1.** Text.\n"), ("a/src/b.rs", code)]), [""; 0]);
        let files = [
            (DOC, "### **READY-1** Title\n"),
            ("a/src/b.rs", "/// Rule: READY-1.\n"),
            ("a/tests/c.rs", "/// Rule: READY-1.\n"),
        ];
        assert_eq!(errors(&files), [""; 0]);
    }

    #[test]
    fn a_declared_rule_needs_code_and_a_test() {
        assert_eq!(
            errors(&[(DOC, "- **READY-1** x\n"), ("a/tests/c.rs", "// Rule: READY-1\n")]),
            ["READY-1 is cited by no code outside tests"]
        );
        assert_eq!(
            errors(&[(DOC, "- **READY-1** x\n"), ("a/src/c.rs", "// Rule: READY-1\n")]),
            ["READY-1 is cited by no test"]
        );
    }

    #[test]
    fn a_mention_without_the_marker_is_no_citation() {
        let files =
            [(DOC, "- **READY-1** x\n"), ("a/src/c.rs", "// READY-1, a \"Rule: READY-1\"\n")];
        assert_eq!(errors(&files), ["READY-1 is cited by no test"]);
        let files =
            [(DOC, "- **READY-1** x\n"), ("a/src/c.rs", "x(\"Rule: READY-1\"); // READY-1\n")];
        assert_eq!(errors(&files).len(), 2);
    }

    #[test]
    fn an_undeclared_rule_is_refused_with_its_place() {
        let files =
            [(DOC, "text **LOST-1** in passing\n"), ("a/src/b.rs", "\n/// Rule: LOST-1.\n")];
        assert_eq!(
            errors(&files),
            [
                "docs/protocol.md declares no rule: start bullets with a bold id",
                "a/src/b.rs:2: LOST-1 is not a rule of docs/protocol.md"
            ]
        );
    }

    #[test]
    fn declarations_are_the_bold_starts_of_bullets_and_headings() {
        let text = "- **READY-1.** a **ECHO-1** b\n* **ID-2a** c\n## **ABORT-1: d**\n  - **X-1** e\n\
                    ```\n- **CODE-1**\n```\n#**HASH-1**\n- **Note** f\n";
        let ids: Vec<_> = declarations(text);
        assert_eq!(ids, [(1, "READY-1"), (2, "ID-2a"), (3, "ABORT-1")]);
    }

    #[test]
    fn a_rule_is_declared_once() {
        let found = errors(&[(DOC, "- **READY-1** x\n- **READY-1** y\n")]);
        assert_eq!(found[0], "docs/protocol.md:2: READY-1 is declared twice");
    }

    #[test]
    fn citations_go_on_after_a_comma_and_skip_standards() {
        let text = "//! Spec: docs/protocol.md READY-1, ECHO-2 (SHA-256, PODC'07),\n//! ID-1a.\n//! OTHER-1\n";
        let file = crate::source::SourceFile::parse("a/src/b.rs", text);
        let ids: Vec<_> = citations(&file.lines).into_iter().map(|c| (c.line, c.id)).collect();
        let expected = [(1, "READY-1"), (1, "ECHO-2"), (2, "ID-1a")];
        assert_eq!(ids, expected.map(|(line, id)| (line, id.to_owned())));
    }

    #[test]
    fn ids_have_one_shape() {
        for id in ["READY-1", "ID-12", "AB-1a"] {
            assert!(is_id(id), "{id}");
        }
        for other in
            ["A-1", "READY", "READY-", "Ready-1", "READY-1ab", "READY-1-2", "READY-a", "-1"]
        {
            assert!(!is_id(other), "{other}");
        }
    }
}
