//! Owns the grammar of nginx.conf: words, quotes, comments, blocks, includes.
//!
//! Refuses to know any directive but `include`. Bound: [`DEPTH_MAX`] levels of blocks and of
//! includes, [`FILES_MAX`] files of [`BYTES_MAX`] bytes together.

use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::str::Chars;
use std::sync::Arc;

const DEPTH_MAX: usize = 16;
const FILES_MAX: usize = 256;
const BYTES_MAX: u64 = 4 << 20;

/// Where a directive stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) file: Arc<str>,
    pub(super) line: u32,
}

/// One directive.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
    pub(super) block: Option<Vec<Directive>>,
    pub(super) at: At,
}

impl Directive {
    /// The argument at `index`, empty where there is none.
    pub(super) fn argument(&self, index: usize) -> &str {
        self.arguments.get(index).map_or("", String::as_str)
    }

    /// What stands in its braces.
    pub(super) fn inside(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// A text that is no nginx.conf.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct ParseError {
    /// The file.
    pub file: String,
    /// The line.
    pub line: u32,
    /// What is wrong there.
    pub message: String,
}

fn wrong(at: &At, message: impl Into<String>) -> ParseError {
    ParseError { file: at.file.to_string(), line: at.line, message: message.into() }
}

/// Reads `file` and what it includes.
pub(super) fn read(file: &Path) -> Result<Vec<Directive>, ParseError> {
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    let mut reader = Reader { folder, files: 0, bytes: 0 };
    let at = At { file: file.display().to_string().into(), line: 0 };
    reader.file(file, &at, 0)
}

struct Reader {
    folder: PathBuf,
    files: usize,
    bytes: u64,
}

impl Reader {
    fn file(&mut self, file: &Path, from: &At, depth: usize) -> Result<Vec<Directive>, ParseError> {
        let unreadable = |error| wrong(from, format!("cannot read {}: {error}", file.display()));
        self.files += 1;
        self.bytes += std::fs::metadata(file).map_err(unreadable)?.len();
        if depth > DEPTH_MAX || self.files > FILES_MAX || self.bytes > BYTES_MAX {
            let most = format!(
                "more than {DEPTH_MAX} levels of includes, {FILES_MAX} files or {} MiB",
                BYTES_MAX >> 20
            );
            return Err(wrong(from, most));
        }
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        let at = At { file: file.display().to_string().into(), line: 1 };
        let mut words = Words { rest: text.chars().peekable(), at };
        self.block(&mut words, depth, 0)
    }

    fn block(
        &mut self,
        words: &mut Words<'_>,
        depth: usize,
        level: usize,
    ) -> Result<Vec<Directive>, ParseError> {
        let mut directives = Vec::new();
        loop {
            let (first, at) = words.next()?;
            let name = match first {
                Token::Word(name) => name,
                Token::Close if level > 0 => return Ok(directives),
                Token::End if level == 0 => return Ok(directives),
                Token::End => return Err(wrong(&at, "the file ends inside a block")),
                Token::Close => return Err(wrong(&at, "`}` closes nothing")),
                Token::Open | Token::Semicolon => {
                    return Err(wrong(&at, "a directive must begin with its name"));
                }
            };
            let mut arguments = Vec::new();
            let block = loop {
                match words.next()? {
                    (Token::Word(word), _) => arguments.push(word),
                    (Token::Semicolon, _) => break None,
                    (Token::Open, at) if level == DEPTH_MAX => {
                        return Err(wrong(&at, format!("more than {DEPTH_MAX} levels of blocks")));
                    }
                    (Token::Open, _) => break Some(self.block(words, depth, level + 1)?),
                    (Token::Close | Token::End, at) => {
                        return Err(wrong(&at, format!("`{name}` does not end with `;`")));
                    }
                }
            };
            // Types of files mean nothing to a gateway that serves none.
            let is_include =
                name == "include" && !arguments.iter().any(|a| a.ends_with("mime.types"));
            if !is_include {
                directives.push(Directive { name, arguments, block, at });
                continue;
            }
            let [pattern] = arguments.as_slice() else {
                return Err(wrong(&at, "`include` takes one argument"));
            };
            for file in self.matching(pattern, &at)? {
                directives.extend(self.file(&file, &at, depth + 1)?);
            }
        }
    }

    /// The files that a pattern with `*` in its last part stands for, by name.
    fn matching(&self, pattern: &str, at: &At) -> Result<Vec<PathBuf>, ParseError> {
        let path = self.folder.join(pattern);
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(wrong(at, format!("`{pattern}` names no file")));
        };
        if !pattern.contains(['*', '?', '[']) {
            return Ok(vec![path]);
        }
        let (folder, name) = (path.parent().unwrap_or(Path::new("")), name.to_owned());
        if folder.to_string_lossy().contains('*') || name.contains(['?', '[']) {
            let why = "only `*` in the name of the file is understood";
            return Err(wrong(at, format!("`{pattern}`: {why}")));
        }
        // As nginx does, a pattern that nothing matches includes nothing.
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries
            .filter(|entry| {
                let found = entry.file_name();
                let found = found.to_string_lossy();
                !found.starts_with('.') && matches_star(&name, &found)
            })
            .map(|entry| entry.path())
            .collect();
        files.sort();
        Ok(files)
    }
}

fn matches_star(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(place) = left.find(part) else { return false };
        left = &left[place + part.len()..];
    }
    left.ends_with(last)
}

enum Token {
    Word(String),
    Open,
    Close,
    Semicolon,
    End,
}

struct Words<'a> {
    rest: Peekable<Chars<'a>>,
    at: At,
}

impl Words<'_> {
    fn take(&mut self) -> Option<char> {
        let next = self.rest.next();
        if next == Some('\n') {
            self.at.line += 1;
        }
        next
    }

    fn next(&mut self) -> Result<(Token, At), ParseError> {
        loop {
            let at = self.at.clone();
            let token = match self.take() {
                None => Token::End,
                Some('{') => Token::Open,
                Some('}') => Token::Close,
                Some(';') => Token::Semicolon,
                Some('#') => {
                    while self.rest.peek().is_some_and(|&next| next != '\n') {
                        self.take();
                    }
                    continue;
                }
                Some(space) if space.is_ascii_whitespace() => continue,
                Some(quote @ ('"' | '\'')) => Token::Word(self.quoted(quote, &at)?),
                Some(first) => Token::Word(self.plain(first)),
            };
            return Ok((token, at));
        }
    }

    fn quoted(&mut self, quote: char, at: &At) -> Result<String, ParseError> {
        let mut word = String::new();
        loop {
            match self.take() {
                None => return Err(wrong(at, "a quoted text does not end")),
                Some('\\') => self.escaped(&mut word),
                Some(next) if next == quote => break,
                Some(next) => word.push(next),
            }
        }
        match self.rest.peek() {
            Some(next) if !next.is_ascii_whitespace() && !matches!(next, ';' | '{' | ')') => {
                Err(wrong(&self.at, format!("unexpected `{next}` after a quoted text")))
            }
            _ => Ok(word),
        }
    }

    fn plain(&mut self, first: char) -> String {
        let mut word = String::new();
        let mut next = Some(first);
        while let Some(letter) = next {
            match letter {
                '\\' => self.escaped(&mut word),
                '$' if self.rest.peek() == Some(&'{') => {
                    // `${name}` is one word with its braces.
                    word.push('$');
                    while let Some(inner) = self.take() {
                        word.push(inner);
                        if inner == '}' {
                            break;
                        }
                    }
                }
                _ => word.push(letter),
            }
            let ends = |letter: &char| letter.is_ascii_whitespace() || matches!(letter, ';' | '{');
            next = if self.rest.peek().is_none_or(ends) { None } else { self.take() };
        }
        word
    }

    /// What follows a backslash, as nginx takes it.
    fn escaped(&mut self, word: &mut String) {
        match self.take() {
            Some(letter @ ('"' | '\'' | '\\')) => word.push(letter),
            Some('t') => word.push('\t'),
            Some('r') => word.push('\r'),
            Some('n') => word.push('\n'),
            other => {
                word.push('\\');
                word.extend(other);
            }
        }
    }
}
