//! Licence expressions: which packages may be linked into this program.
//!
//! ```text
//! expression = all { OR all }        one alternative must be allowed
//! all        = term { AND term }     every part must be allowed
//! term       = name [WITH exception] | ( expression )
//! ```
//!
//! An exception only adds permissions, but it also makes another licence; it counts as not listed.

use std::iter::Peekable;
use std::vec::IntoIter;

/// Licences that ask for no more than a notice. `deny.toml` repeats the list; a test compares.
pub const ALLOWED: [&str; 8] =
    ["MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib", "Unicode-3.0", "CC0-1.0"];

/// Whether an expression can be satisfied with the allowed licences alone.
///
/// An expression that cannot be read is not allowed.
#[must_use]
pub fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<String> = spaced.split_whitespace().map(str::to_owned).collect();
    let mut words = words.into_iter().peekable();
    let allowed = any_of(&mut words);
    allowed == Some(true) && words.next().is_none()
}

type Words = Peekable<IntoIter<String>>;

/// `None` stands for an expression that ends too early or nests wrongly.
fn any_of(words: &mut Words) -> Option<bool> {
    let mut allowed = all_of(words)?;
    while words.next_if(|word| word == "OR").is_some() {
        allowed |= all_of(words)?;
    }
    Some(allowed)
}

fn all_of(words: &mut Words) -> Option<bool> {
    let mut allowed = term(words)?;
    while words.next_if(|word| word == "AND").is_some() {
        allowed &= term(words)?;
    }
    Some(allowed)
}

fn term(words: &mut Words) -> Option<bool> {
    let name = words.next()?;
    if name == "(" {
        let allowed = any_of(words)?;
        return words.next_if(|word| word == ")").map(|_| allowed);
    }
    if words.next_if(|word| word == "WITH").is_some() {
        return words.next().map(|_| false);
    }
    Some(ALLOWED.contains(&name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_allowed_alternative_suffices() {
        for expression in [
            "MIT",
            "MIT OR GPL-3.0",
            "MPL-2.0 OR Zlib",
            "MIT/Apache-2.0",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "MPL-2.0 AND GPL-3.0 OR ISC",
        ] {
            assert!(is_allowed(expression), "{expression}");
        }
    }

    #[test]
    fn every_part_of_a_conjunction_must_be_allowed() {
        for expression in [
            "MPL-2.0",
            "MIT AND MPL-2.0",
            "(MIT OR GPL-3.0) AND MPL-2.0",
            "Apache-2.0 WITH LLVM-exception",
            "mit",
        ] {
            assert!(!is_allowed(expression), "{expression}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for expression in
            ["", "OR", "MIT OR", "MIT AND", "(MIT", "MIT)", "MIT MIT", "MIT WITH", "()"]
        {
            assert!(!is_allowed(expression), "{expression}");
        }
    }

    #[test]
    fn deny_toml_lists_the_same_licences() {
        let text = include_str!("../../../deny.toml");
        let (_, after) = text.split_once("\nallow = [").unwrap();
        let (list, _) = after.split_once(']').unwrap();
        let listed: Vec<_> = list.split('"').skip(1).step_by(2).collect();
        assert_eq!(listed, ALLOWED);
    }
}
