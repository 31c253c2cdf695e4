//! Layout of files: length, white space, module docs, and what tests must not do.
//!
//! Lengths count lines outside tests, comments included: the reader reads those too.
//!
//! Not here: formatting of code (rustfmt), length of functions (clippy).

use crate::source::{Line, SourceFile};
use crate::workspace::TextFile;
use crate::{Report, Workspace};

/// Lines outside tests from which a file is on the warn list.
const PRODUCTION_LINES_WARN: usize = 500;
/// Lines outside tests that no file may exceed.
const PRODUCTION_LINES_MAX: usize = 800;
/// Lines of a `lib.rs`: documentation, modules and exports.
const LIB_LINES_MAX: usize = 120;

/// Tests that may sleep, each with its reason. A test waits for a fact, with a deadline; a pause
/// between two looks belongs into one shared helper, which is then listed here.
const MAY_SLEEP: [(&str, &str); 0] = [];

/// Checks every text file.
#[must_use]
pub fn check(workspace: &Workspace) -> Report {
    let mut report = Report::default();
    for file in &workspace.files {
        check_white_space(file, &mut report);
    }
    for file in &workspace.sources {
        check_length(file, &mut report);
        check_module_doc(file, &mut report);
        check_tests(file, &MAY_SLEEP, &mut report);
    }
    for (path, _) in MAY_SLEEP {
        if workspace.text(path).is_none() {
            report.error(format!("{path} may sleep but does not exist: shorten the list"));
        }
    }
    report
}

fn check_white_space(file: &TextFile, report: &mut Report) {
    for (number, line) in (1..).zip(file.text.split('\n')) {
        if line.contains('\t') {
            report.error(format!("{}:{number}: tab", file.path));
        }
        if line.ends_with(char::is_whitespace) {
            report.error(format!("{}:{number}: white space at the end of the line", file.path));
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        report.error(format!("{}: the last line has no end", file.path));
    }
}

fn check_length(file: &SourceFile, report: &mut Report) {
    let path = &file.path;
    let lines = file.lines.iter().filter(|line| !line.test).count();
    if lines > PRODUCTION_LINES_MAX {
        report.error(format!("{path}: {lines} lines, the limit is {PRODUCTION_LINES_MAX}"));
    } else if lines > PRODUCTION_LINES_WARN {
        report.warn(format!("{path}: {lines} lines, split it above {PRODUCTION_LINES_WARN}"));
    }
    if path.ends_with("/lib.rs") && file.lines.len() > LIB_LINES_MAX {
        report.error(format!(
            "{path}: {} lines, a lib.rs has at most {LIB_LINES_MAX}: docs, modules, exports",
            file.lines.len()
        ));
    }
}

fn check_module_doc(file: &SourceFile, report: &mut Report) {
    let documented = file.lines.first().is_some_and(|line| line.comment.starts_with("//!"));
    if file.path.contains("/src/") && !documented {
        report.error(format!("{}: does not start with a //! comment", file.path));
    }
}

fn check_tests(file: &SourceFile, may_sleep: &[(&str, &str)], report: &mut Report) {
    let listed = may_sleep.iter().any(|(path, _)| *path == file.path);
    for (number, line) in (1..).zip(&file.lines) {
        if ignores(&line.code) {
            report.error(format!(
                "{}:{number}: an ignored test tests nothing: run it or delete it",
                file.path
            ));
        }
        if line.test && sleeps(line) && !listed {
            report.error(format!(
                "{}:{number}: a test must not sleep: wait for the fact, with a deadline",
                file.path
            ));
        }
    }
}

/// Whether a line carries the attribute, plain or conditional.
fn ignores(code: &str) -> bool {
    let conditional = code.contains("cfg_attr(") && code.contains(", ignore");
    code.contains("#[ignore") || conditional
}

/// Whether a line calls or imports a function that only passes time.
fn sleeps(line: &Line) -> bool {
    let code = &line.code;
    if code.contains("thread::sleep") || code.contains("time::sleep") {
        return true;
    }
    code.match_indices("sleep").any(|(at, word)| {
        let (before, after) = (code.get(..at), code.get(at + word.len()..));
        let before = before.unwrap_or_default();
        let after = after.unwrap_or_default();
        let called = after.starts_with('(') || after.starts_with("_until(");
        let own = before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.');
        called && !own && !before.ends_with("fn ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(path: &str, text: &str) -> Report {
        check(&Workspace::new([(path.to_owned(), text.to_owned())]))
    }

    fn errors(path: &str, text: &str) -> Vec<String> {
        report(path, text).errors
    }

    fn module(lines: usize) -> String {
        format!("//! Doc.\n{}", "x;\n".repeat(lines - 1))
    }

    #[test]
    fn a_file_may_have_800_lines_and_is_warned_about_from_501() {
        assert_eq!(report("a/src/b.rs", &module(500)), Report::default());
        assert_eq!(report("a/src/b.rs", &module(501)).warnings.len(), 1);
        assert_eq!(report("a/src/b.rs", &module(800)).errors.len(), 0);
        assert_eq!(errors("a/src/b.rs", &module(801)), ["a/src/b.rs: 801 lines, the limit is 800"]);
    }

    #[test]
    fn tests_do_not_count_towards_the_length() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "x;\n".repeat(600));
        assert_eq!(report("a/src/b.rs", &(module(500) + &tests)), Report::default());
        assert_eq!(report("a/src/b/tests.rs", &module(900)), Report::default());
    }

    #[test]
    fn a_lib_has_at_most_120_lines() {
        assert_eq!(report("a/src/lib.rs", &module(120)), Report::default());
        assert_eq!(errors("a/src/lib.rs", &module(121)).len(), 1);
    }

    #[test]
    fn white_space_is_checked_in_every_text_file() {
        let found = errors("docs/a.md", "a\tb\nc \n\nd\r\ne");
        assert_eq!(
            found,
            [
                "docs/a.md:1: tab",
                "docs/a.md:2: white space at the end of the line",
                "docs/a.md:4: white space at the end of the line",
                "docs/a.md: the last line has no end"
            ]
        );
    }

    #[test]
    fn a_module_starts_with_its_doc() {
        assert_eq!(errors("a/src/b.rs", "use c;\n//! Late.\n").len(), 1);
        assert_eq!(errors("a/src/b.rs", "").len(), 1);
        assert_eq!(errors("a/tests/b.rs", "use c;\n"), Vec::<String>::new());
    }

    #[test]
    fn ignored_tests_are_refused_and_words_about_them_are_not() {
        for code in ["#[ignore]", "#[ignore = \"slow\"]", "#[cfg_attr(miri, ignore)]"] {
            let text = format!("//! Doc.\n#[test]\n{code}\nfn a() {{}}\n");
            assert_eq!(errors("a/src/b.rs", &text).len(), 1, "{code}");
        }
        let text = "//! No #[ignore] here.\nconst A: &str = \"#[ignore]\";\n";
        assert_eq!(errors("a/src/b.rs", text), Vec::<String>::new());
    }

    #[test]
    fn tests_must_not_sleep() {
        for code in [
            "thread::sleep(x);",
            "tokio::time::sleep(x).await;",
            "use std::thread::sleep;",
            "  sleep(x);",
            "sleep_until(x);",
        ] {
            assert_eq!(errors("a/tests/b.rs", &format!("{code}\n")).len(), 1, "{code}");
            let inside = format!("//! Doc.\n#[cfg(test)]\nmod tests {{\n{code}\n}}\n");
            assert_eq!(errors("a/src/b.rs", &inside).len(), 1, "{code}");
            let production = format!("//! Doc.\n{code}\n");
            assert_eq!(errors("a/src/b.rs", &production).len(), 0, "{code}");
        }
        for code in ["clock.sleep(x);", "fn sleep(x: u8);", "asleep(x);", "\"sleep(x)\";"] {
            assert_eq!(errors("a/tests/b.rs", &format!("{code}\n")).len(), 0, "{code}");
        }
    }

    #[test]
    fn a_listed_test_may_sleep() {
        let file = SourceFile::parse("a/tests/b.rs", "thread::sleep(x);\n");
        let mut report = Report::default();
        check_tests(&file, &[("a/tests/b.rs", "polls with a deadline")], &mut report);
        assert_eq!(report, Report::default());
        check_tests(&file, &[("a/tests/c.rs", "polls with a deadline")], &mut report);
        assert_eq!(report.errors.len(), 1);
    }
}
