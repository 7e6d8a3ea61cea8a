//! Owns one Rust file as the rules see it: code and comments apart, each on its own lines.
//!
//! Refuses to parse Rust; it only tells code, comments and literals apart, so that a rule is not
//! set off by a string. Bound: one pass over the text.

use std::fmt;

/// One thing that is wrong, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Path inside the checkout.
    pub path: String,
    /// Line, counted from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub text: String,
}

impl Problem {
    /// A problem at `path:line`, worded as `what; fix`.
    pub fn new(path: &str, line: usize, what: impl fmt::Display, fix: impl fmt::Display) -> Self {
        Self { path: path.to_owned(), line, text: format!("{what}; {fix}") }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path, self.line, self.text)
    }
}

/// A Rust file, split once and read by every rule.
pub struct Source {
    /// Path inside the checkout, with `/` between folders.
    pub path: String,
    /// The lines as written.
    pub lines: Vec<String>,
    /// The same lines with comments and the inside of literals blanked.
    pub code: Vec<String>,
    /// The same lines with everything but comments blanked.
    pub comments: Vec<String>,
    /// Index of the first line of the trailing `#[cfg(test)] mod tests`, if the file has one.
    tests_from: usize,
}

impl Source {
    /// Splits `text`, which stands at `path` inside the checkout.
    pub fn new(path: &str, text: &str) -> Self {
        let (code, comments) = split(text);
        let code = lines(&code);
        let tests_from = (1..code.len())
            .find(|&index| {
                code[index - 1].trim() == "#[cfg(test)]" && code[index].trim_end().ends_with('{')
            })
            .unwrap_or(usize::MAX);
        let comments = lines(&comments);
        Self { path: path.to_owned(), lines: lines(text), code, comments, tests_from }
    }

    /// The file name, without folders.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Whether the whole file is test code: `tests.rs`, or anything in a folder `tests`.
    pub fn is_test_file(&self) -> bool {
        self.name() == "tests.rs" || self.path.split('/').any(|folder| folder == "tests")
    }

    /// Whether the line at `index` (from 0) is test code.
    pub fn is_test_line(&self, index: usize) -> bool {
        self.is_test_file() || index >= self.tests_from
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Piece {
    Code,
    Comment,
    Literal,
}

/// The code and the comments of `text`, each with the other parts blanked and all lines kept.
fn split(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut comments) = (String::new(), String::new());
    let mut index = 0;
    while index < chars.len() {
        let inside_word = index > 0 && is_word(chars[index - 1]);
        let (piece, count) = next_piece(&chars[index..], inside_word);
        for &character in &chars[index..index + count] {
            let kept = |wanted| if piece == wanted { character } else { ' ' };
            let newline = character == '\n';
            code.push(if newline { character } else { kept(Piece::Code) });
            comments.push(if newline { character } else { kept(Piece::Comment) });
        }
        index += count;
    }
    (code, comments)
}

/// Whether `character` can be part of a Rust name.
pub fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// What `rest` begins with and how many characters that takes; `rest` is not empty.
fn next_piece(rest: &[char], inside_word: bool) -> (Piece, usize) {
    match (rest[0], rest.get(1)) {
        ('/', Some('/')) => {
            let end = rest.iter().position(|&character| character == '\n');
            (Piece::Comment, end.unwrap_or(rest.len()))
        }
        ('/', Some('*')) => (Piece::Comment, block_comment_count(rest)),
        ('"', _) => (Piece::Literal, quoted_count(rest, '"')),
        ('\'', Some('\\')) => (Piece::Literal, quoted_count(rest, '\'')),
        // A quote that closes two characters on is a character; any other opens a lifetime.
        ('\'', Some(_)) if rest.get(2) == Some(&'\'') => (Piece::Literal, 3),
        ('r' | 'b' | 'c', _) if !inside_word => match raw_string_count(rest) {
            Some(count) => (Piece::Literal, count),
            None => (Piece::Code, 1),
        },
        _ => (Piece::Code, 1),
    }
}

fn block_comment_count(rest: &[char]) -> usize {
    let (mut depth, mut index) = (0_usize, 0);
    while index < rest.len() {
        match (rest[index], rest.get(index + 1)) {
            ('/', Some('*')) => (depth, index) = (depth + 1, index + 2),
            ('*', Some('/')) => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            return index;
        }
    }
    rest.len()
}

fn quoted_count(rest: &[char], quote: char) -> usize {
    let mut index = 1;
    while index < rest.len() {
        match rest[index] {
            '\\' => index += 2,
            character if character == quote => return index + 1,
            _ => index += 1,
        }
    }
    rest.len()
}

/// The length of a raw string such as `r"…"`, `br#"…"#`, or `None` where `rest` is none.
fn raw_string_count(rest: &[char]) -> Option<usize> {
    let mark = usize::from(matches!(rest[0], 'b' | 'c'));
    if rest.get(mark) != Some(&'r') {
        return None;
    }
    let hash_count = rest[mark + 1..].iter().take_while(|&&character| character == '#').count();
    let open = mark + 1 + hash_count;
    if rest.get(open) != Some(&'"') {
        return None;
    }
    let mut index = open + 1;
    while index < rest.len() {
        let hashes = rest[index + 1..].iter().take(hash_count);
        if rest[index] == '"' && hashes.filter(|&&character| character == '#').count() == hash_count
        {
            return Some(index + 1 + hash_count);
        }
        index += 1;
    }
    Some(rest.len())
}

#[test]
fn code_and_comments_are_told_apart() {
    fn check(text: &str, code: &str, comments: &str) {
        let (got_code, got_comments) = split(text);
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!((words(&got_code).as_str(), words(&got_comments).as_str()), (code, comments));
        assert_eq!(got_code.lines().count(), text.lines().count(), "{text}");
        assert_eq!(got_code.chars().count(), text.chars().count(), "{text}");
    }
    check("a // b\nc", "a c", "// b");
    check("a /* b /* c */ d */ e", "a e", "/* b /* c */ d */");
    check("a(\"// no\", 'x', '\\'', '\"') b", "a( , , , ) b", "");
    check("a \"x\\\"y\" b", "a b", "");
    check("a r#\"x\" // y\"# b // z", "a b", "// z");
    check("br\"\\\" b", "b", "");
    check("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}", "");
    check("let r#fn = bar\"x\\\"\";", "let r#fn = bar ;", "");
    check("\"two\nlines\" // é", "", "// é");
}

#[test]
fn test_lines_are_known() {
    fn check(path: &str, text: &str, expected: &[bool]) {
        let source = Source::new(path, text);
        let got: Vec<bool> = (0..source.lines.len()).map(|i| source.is_test_line(i)).collect();
        assert_eq!(got, expected, "{path}");
    }
    check("engine/a/src/b.rs", "x\n#[cfg(test)]\nmod tests {\ny", &[false, false, true, true]);
    check("engine/a/src/b.rs", "#[cfg(test)]\nmod tests;\nx", &[false, false, false]);
    check("engine/a/src/b/tests.rs", "x", &[true]);
    check("engine/a/tests/c.rs", "x", &[true]);
    check("tests/it/main.rs", "x", &[true]);
    check("engine/a/src/latests.rs", "x", &[false]);
}
