//! Rust source split into code and comments, line by line, with test code marked.
//!
//! A text search for `#[ignore]` would find this sentence. So a small lexer takes every file
//! apart first: strings and characters lose their content, comments move to their own column, and
//! what remains as code can be searched safely. It knows just enough Rust for that (nested block
//! comments, raw strings, lifetimes) and never fails: broken source is the compiler's business.
//!
//! Invariant: a file has exactly as many [`Line`]s as its text has.

/// One line of a source file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The line without comments and without the content of literals.
    pub code: String,
    /// The comment on this line, with its slashes.
    pub comment: String,
    /// Whether the line is compiled for tests only.
    pub test: bool,
}

/// One `.rs` file.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Path from the workspace root, with `/`.
    pub path: String,
    /// Its lines, in order.
    pub lines: Vec<Line>,
    /// Modules it declares for tests only (`#[cfg(test)] mod x;`).
    pub test_modules: Vec<String>,
}

impl SourceFile {
    /// Takes a file apart.
    #[must_use]
    pub fn parse(path: &str, text: &str) -> Self {
        let mut lines = Lexer::new(text).run();
        let test_modules = mark_tests(&mut lines);
        let whole = is_test_path(path) || lines.iter().any(|l| l.code.contains("#![cfg(test)]"));
        let mut file = Self { path: path.to_owned(), lines, test_modules };
        if whole {
            file.mark_all_as_test();
        }
        file
    }

    /// Marks every line as test code.
    pub fn mark_all_as_test(&mut self) {
        for line in &mut self.lines {
            line.test = true;
        }
    }

    /// Where a module declared in this file lives, without the `.rs`.
    #[must_use]
    pub fn child_path(&self, module: &str) -> String {
        let stem = self.path.trim_end_matches(".rs");
        let (parent, name) = stem.rsplit_once('/').unwrap_or(("", stem));
        match name {
            "lib" | "main" | "mod" => format!("{parent}/{module}"),
            _ => format!("{stem}/{module}"),
        }
    }
}

/// Whether a path alone says that the file holds tests.
fn is_test_path(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs")
}

/// Where a character belongs.
#[derive(Clone, Copy)]
enum Kind {
    Code,
    Comment,
    Literal,
}

struct Lexer<'a> {
    rest: &'a str,
    /// The last character of code, to tell `r"` from the end of a name.
    previous: char,
    lines: Vec<Line>,
    line: Line,
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text, previous: ' ', lines: Vec::new(), line: Line::default() }
    }

    fn run(mut self) -> Vec<Line> {
        while let Some(c) = self.rest.chars().next() {
            if self.rest.starts_with("//") {
                self.take_until("\n", Kind::Comment);
            } else if self.rest.starts_with("/*") {
                self.take_block_comment();
            } else if let Some((prefix, end)) = raw_string(self.rest, self.previous) {
                self.take(prefix, Kind::Code);
                self.take_until(&end, Kind::Literal);
                self.take(end.len(), Kind::Code);
            } else if c == '"' {
                self.take_quoted('"');
            } else if c == '\'' && is_char_literal(self.rest) {
                self.take_quoted('\'');
            } else {
                self.take(c.len_utf8(), Kind::Code);
            }
        }
        if self.line != Line::default() {
            self.lines.push(self.line);
        }
        self.lines
    }

    /// Moves `bytes` from the input to a column of the current line.
    fn take(&mut self, bytes: usize, kind: Kind) {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        for c in taken.chars() {
            if c == '\n' {
                self.lines.push(std::mem::take(&mut self.line));
                self.previous = c;
                continue;
            }
            match kind {
                Kind::Code => {
                    self.line.code.push(c);
                    self.previous = c;
                }
                Kind::Comment => self.line.comment.push(c),
                Kind::Literal => self.line.code.push(' '),
            }
        }
    }

    fn take_until(&mut self, end: &str, kind: Kind) {
        let bytes = self.rest.find(end).unwrap_or(self.rest.len());
        self.take(bytes, kind);
    }

    fn take_block_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(c) = self.rest.chars().next() {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.take(2, Kind::Comment);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.take(2, Kind::Comment);
                if depth == 0 {
                    return;
                }
            } else {
                self.take(c.len_utf8(), Kind::Comment);
            }
        }
    }

    fn take_quoted(&mut self, quote: char) {
        self.take(quote.len_utf8(), Kind::Code);
        while let Some(c) = self.rest.chars().next() {
            if c == quote {
                self.take(c.len_utf8(), Kind::Code);
                return;
            }
            self.take(c.len_utf8(), Kind::Literal);
            if c == '\\' {
                let escaped = self.rest.chars().next().map_or(0, char::len_utf8);
                self.take(escaped, Kind::Literal);
            }
        }
    }
}

/// Length of a raw string's opening and the text that closes it, if one starts here.
fn raw_string(rest: &str, previous: char) -> Option<(usize, String)> {
    if previous.is_alphanumeric() || previous == '_' {
        return None;
    }
    let after_prefix = rest.strip_prefix(['b', 'c']).unwrap_or(rest).strip_prefix('r')?;
    let after_hashes = after_prefix.trim_start_matches('#');
    let content = after_hashes.strip_prefix('"')?;
    let hashes = after_prefix.len() - after_hashes.len();
    Some((rest.len() - content.len(), format!("\"{}", "#".repeat(hashes))))
}

/// Tells `'a'` and `'\n'` from the lifetime `'a`.
fn is_char_literal(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

/// How far the item behind a test attribute has been read.
enum Region {
    Outside,
    /// Attribute seen, body not: brackets open so far.
    Pending(usize),
    /// Inside the body: braces open so far.
    Inside(usize),
}

impl Region {
    fn advance(self, c: char) -> Self {
        match (self, c) {
            (Self::Pending(open), '(' | '[') => Self::Pending(open + 1),
            (Self::Pending(open), ')' | ']') => Self::Pending(open.saturating_sub(1)),
            (Self::Pending(0), '{') => Self::Inside(1),
            (Self::Pending(0), ';') | (Self::Inside(1), '}') => Self::Outside,
            (Self::Inside(open), '{') => Self::Inside(open + 1),
            (Self::Inside(open), '}') => Self::Inside(open - 1),
            (same, _) => same,
        }
    }
}

/// Marks the items behind `#[cfg(test)]` and `#[test]`; returns the file modules among them.
fn mark_tests(lines: &mut [Line]) -> Vec<String> {
    let mut modules = Vec::new();
    let mut region = Region::Outside;
    for line in lines {
        if matches!(region, Region::Outside) {
            if !starts_test(&line.code) {
                continue;
            }
            region = Region::Pending(0);
        }
        line.test = true;
        if matches!(region, Region::Pending(_)) {
            modules.extend(file_module(&line.code));
        }
        for c in line.code.chars() {
            region = region.advance(c);
        }
    }
    modules
}

fn starts_test(code: &str) -> bool {
    let code = code.trim_start();
    ["#[cfg(test)", "#[cfg(all(test", "#[test]", "#[tokio::test"]
        .iter()
        .any(|a| code.starts_with(a))
}

/// The name in `mod name;`, whatever stands before it.
fn file_module(code: &str) -> Option<String> {
    let (_, after) = code.split_once("mod ")?;
    let (name, _) = after.split_once(';')?;
    Some(name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        let lines = Lexer::new(text).run();
        lines.iter().map(|l| l.code.trim_end()).collect::<Vec<_>>().join("\n")
    }

    fn test_lines(text: &str) -> Vec<usize> {
        let file = SourceFile::parse("crates/a/src/b.rs", text);
        (1..).zip(&file.lines).filter(|(_, line)| line.test).map(|(number, _)| number).collect()
    }

    #[test]
    fn strings_and_characters_lose_their_content() {
        assert_eq!(code(r##"f("a // \" b", 'x', '\'', r#"c " d"#)"##).replace(' ', ""), {
            r##"f("",'','',r#""#)"##
        });
    }

    #[test]
    fn a_lifetime_is_not_a_character() {
        assert_eq!(code("fn f<'a>(x: &'a str) {} // '"), "fn f<'a>(x: &'a str) {}");
    }

    #[test]
    fn a_name_that_ends_in_r_does_not_start_a_raw_string() {
        assert_eq!(code("for\"x\" r#type"), "for\" \" r#type");
    }

    #[test]
    fn comments_move_to_their_own_column_and_nest() {
        let lines = Lexer::new("a /* x /* y */\nz */ b // c\n").run();
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].code.as_str(), lines[0].comment.as_str()), ("a ", "/* x /* y */"));
        assert_eq!((lines[1].code.as_str(), lines[1].comment.as_str()), (" b ", "z */// c"));
    }

    #[test]
    fn every_line_of_text_is_a_line() {
        assert_eq!(Lexer::new("\n\na\n\n").run().len(), 4);
        assert_eq!(Lexer::new("\"x\ny\"").run().len(), 2);
    }

    #[test]
    fn unfinished_literals_end_with_the_file() {
        for text in ["\"", "'\\", "r#\"x", "/* /*", "\"\\"] {
            assert!(Lexer::new(text).run().len() <= 1, "{text}");
        }
    }

    #[test]
    fn a_test_module_is_marked_to_its_closing_brace() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { '}'; }\n}\nfn c() {}\n";
        assert_eq!(test_lines(text), [2, 3, 4, 5]);
    }

    #[test]
    fn a_test_item_without_a_body_ends_at_its_semicolon() {
        assert_eq!(test_lines("#[cfg(test)]\nuse x::{y, z};\nfn a() {}\n"), [1, 2]);
        assert_eq!(test_lines("#[cfg(test)]\nfn a(b: [u8; 3]) {\n}\nfn c() {}\n"), [1, 2, 3]);
    }

    #[test]
    fn test_modules_in_other_files_are_named() {
        let file = SourceFile::parse("crates/a/src/lib.rs", "#[cfg(test)]\npub(crate) mod kit;\n");
        assert_eq!(file.test_modules, ["kit"]);
        assert_eq!(file.child_path("kit"), "crates/a/src/kit");
        let nested = SourceFile::parse("crates/a/src/b.rs", "");
        assert_eq!(nested.child_path("kit"), "crates/a/src/b/kit");
    }

    #[test]
    fn files_of_tests_are_test_code_throughout() {
        for path in ["crates/a/tests/b.rs", "crates/a/src/b/tests.rs"] {
            assert!(SourceFile::parse(path, "fn a() {}\n").lines[0].test, "{path}");
        }
    }
}
