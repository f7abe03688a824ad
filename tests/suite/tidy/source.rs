//! The files of this repository, as far as the rules look at them.
//!
//! A rule about code must not trip over a comment or a message that talks about it, and a rule about products not over
//! their tests. So a source is kept twice, as it is and with comments and literals blanked, and it is known where its
//! tests begin. This is a lexer of a hundred lines and no parser; it knows what rustfmt writes.
//!
//! This module must not know the rules.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use dbos_host_tests::programs;

/// A text file.
pub(super) struct File {
    /// Its path from the top of the repository.
    pub(super) path: String,
    pub(super) text: String,
}

/// A Rust file.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
    /// The text with comments and literals blanked; every byte stands where it stood.
    pub(super) code: String,
    /// True for a file that is compiled for tests only.
    pub(super) is_test: bool,
}

/// A function with its body.
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    pub(super) place: String,
    pub(super) lines: usize,
    pub(super) is_test: bool,
}

/// What git does not keep is not looked at, nor is what nobody writes by hand.
const SKIPPED: [&str; 4] = [".git", ".dbos", "target", "Cargo.lock"];

/// Every text file.
pub(super) fn files() -> &'static [File] {
    static FILES: LazyLock<Vec<File>> = LazyLock::new(read_files);
    &FILES
}

/// Every Rust file.
pub(super) fn sources() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(read_sources);
    &SOURCES
}

fn read_files() -> Vec<File> {
    let (root, mut found) = (programs::source(""), Vec::new());
    walk(&root, &root, &mut found);
    assert!(found.len() > 100, "only {} files were found under `{}`", found.len(), root.display());
    found
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<File>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if SKIPPED.contains(&name.as_str()) || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, found);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let path = path.strip_prefix(root).unwrap().to_str().expect("paths here are ASCII").to_owned();
            found.push(File { path, text });
        }
    }
}

fn read_sources() -> Vec<Source> {
    let rust = files().iter().filter(|file| Path::new(&file.path).extension().is_some_and(|it| it == "rs"));
    let mut sources: Vec<Source> = rust
        .map(|File { path, text }| Source {
            path: path.clone(),
            text: text.clone(),
            code: blanked(text),
            is_test: path.starts_with("tests/"),
        })
        .collect();
    let tests: Vec<String> = sources.iter().flat_map(Source::modules_for_tests).collect();
    for source in &mut sources {
        source.is_test |= tests.contains(&source.path) || source.path.contains("/tests/");
    }
    sources
}

impl Source {
    /// The code that users run: without what is compiled for tests only.
    pub(super) fn product(&self) -> &str {
        let tests = self.test_modules().find(|(_, declared)| declared.contains('{'));
        match tests {
            _ if self.is_test => "",
            Some((at, _)) => &self.code[..at],
            None => &self.code,
        }
    }

    /// The modules behind `#[cfg(test)]`: where they begin, and their first line.
    fn test_modules(&self) -> impl Iterator<Item = (usize, &str)> {
        const MARK: &str = "#[cfg(test)]";
        self.code.match_indices(MARK).filter_map(|(at, _)| {
            let item = self.code[at + MARK.len()..].trim_start();
            item.starts_with("mod ").then(|| (at, item.lines().next().unwrap_or_default()))
        })
    }

    /// The files that are modules behind `#[cfg(test)]`.
    fn modules_for_tests(&self) -> Vec<String> {
        let folder = match self.path.strip_suffix("/mod.rs").or_else(|| self.path.strip_suffix("/lib.rs")) {
            Some(folder) => folder,
            None => self.path.trim_end_matches(".rs"),
        };
        let names = self.test_modules().filter_map(|(_, line)| line.strip_prefix("mod ")?.strip_suffix(';'));
        names.map(|name| format!("{folder}/{name}.rs")).collect()
    }

    /// A place for people: the file and the line.
    pub(super) fn place(&self, at: usize) -> String {
        format!("{}:{}", self.path, line_of(&self.text, at))
    }

    /// Where `word` stands in the code, by itself.
    pub(super) fn places_of_word(&self, word: &str) -> Vec<String> {
        words(&self.code, word).map(|at| self.place(at)).collect()
    }

    /// The paths that begin with `crate::`, those in braces written out, without `crate::`.
    pub(super) fn crate_paths(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (at, start) in self.code.match_indices("crate::") {
            let mut paths = Vec::new();
            expand("", &self.code[at + start.len()..], &mut paths);
            found.extend(paths.into_iter().map(|path| (self.place(at), path)));
        }
        found
    }

    /// Every function that has a body.
    pub(super) fn functions(&self) -> Vec<Function<'_>> {
        words(&self.code, "fn").filter_map(|at| self.function(at)).collect()
    }

    fn function(&self, at: usize) -> Option<Function<'_>> {
        let rest = self.code[at + 2..].trim_start();
        let name = &rest[..rest.find(|c: char| !is_of_word(c))?];
        // A type like `fn(Arguments)` has no name.
        if name.is_empty() {
            return None;
        }
        let mut depth = 0_i32;
        for (offset, byte) in self.code[at..].bytes().enumerate() {
            match byte {
                b'(' | b'[' => depth += 1,
                b')' | b']' => depth -= 1,
                b';' if depth == 0 => return None,
                b'{' if depth == 0 => {
                    let body = &self.code[at + offset..];
                    let end = at + offset + block(body);
                    let lines = self.code[at..end].matches('\n').count() + 1;
                    let is_test = at >= self.product().len();
                    return Some(Function { name, place: self.place(at), lines, is_test });
                }
                _ => {}
            }
        }
        None
    }

    /// The code without the blocks of the macro `quote!`: what is in them is the code of somebody else's crate.
    pub(super) fn without_quotes(&self) -> String {
        let mut code = self.code.clone();
        for (at, _) in self.code.match_indices("quote! {") {
            let start = at + "quote! ".len();
            let end = start + block(&self.code[start..]);
            code.replace_range(start..end, &blank(&self.code[start..end]));
        }
        code
    }
}

/// The line of a place, from 1.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let (before, after) = (code[..*at].chars().next_back(), code[at + word.len()..].chars().next());
        !before.is_some_and(is_of_word) && !after.is_some_and(is_of_word)
    })
}

/// Writes out a path and those in its braces. Returns how long it is.
fn expand(prefix: &str, rest: &str, paths: &mut Vec<String>) -> usize {
    let end = rest.find(|c: char| !(is_of_word(c) || c == ':' || c == '*')).unwrap_or(rest.len());
    let path = format!("{prefix}{}", &rest[..end]);
    if !rest[end..].starts_with('{') {
        paths.push(path);
        // ` as name` is no path.
        let renamed = rest[end..].strip_prefix(" as ");
        return end + renamed.map_or(0, |name| 4 + name.find(|c: char| !is_of_word(c)).unwrap_or(name.len()));
    }
    let mut at = end + 1;
    loop {
        at += rest[at..].find(|c: char| !(c.is_whitespace() || c == ',')).expect("braces are closed");
        if rest[at..].starts_with('}') {
            return at + 1;
        }
        at += expand(&path, &rest[at..], paths);
    }
}

/// How long the block is that `code` begins with.
fn block(code: &str) -> usize {
    let mut depth = 0_i32;
    for (at, byte) in code.bytes().enumerate() {
        depth += i32::from(byte == b'{') - i32::from(byte == b'}');
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

fn blank(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

/// The text with comments and literals blanked.
fn blanked(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut after_word = false;
    while let Some(next) = text[code.len()..].chars().next() {
        let rest = &text[code.len()..];
        match skipped(rest, after_word) {
            0 => code.push(next),
            length => code.push_str(&blank(&rest[..length])),
        }
        after_word = is_of_word(next);
    }
    code
}

/// How much at the beginning of `rest` is a comment or a literal.
fn skipped(rest: &str, after_word: bool) -> usize {
    let through = |from: usize, end: &str| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return through(2, "*/");
    }
    if !after_word && let Some(raw) = rest.trim_start_matches(['b', 'c']).strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            return through(rest.len() - raw.len() + hashes + 1, &format!("\"{}", "#".repeat(hashes)));
        }
    }
    match rest.as_bytes() {
        [b'"', ..] => escaped(rest, '"'),
        [b'\'', b'\\', ..] => escaped(rest, '\''),
        // A character and not a lifetime: the quote is closed right behind it.
        [b'\'', ..] => rest[1..]
            .chars()
            .next()
            .map(|c| 1 + c.len_utf8())
            .filter(|at| rest[*at..].starts_with('\''))
            .map_or(0, |at| at + 1),
        _ => 0,
    }
}

/// How long the literal is that begins and ends with `quote`.
fn escaped(rest: &str, quote: char) -> usize {
    let mut is_escape = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if is_escape => is_escape = false,
            '\\' => is_escape = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[test]
fn code_is_told_apart_from_what_only_looks_like_it() {
    let text = concat!(
        "// todo!()\n",
        "fn f<'a>(x: &'a str) -> char { /* dbg!() */ g(r#\"dbg!(\"\"#, \"\\\"todo!(\", '\"', '\\'') }\n",
        "fn g() -> [u8; 2] {\n    {\n    }\n}\n",
        "use crate::{a::{B, C as D}, e};\n",
        "#[cfg(test)]\nmod tests {\n    fn h() {}\n}\n",
    );
    let source = Source { path: "x.rs".into(), text: text.into(), code: blanked(text), is_test: false };
    assert_eq!(source.code.len(), text.len());
    for hidden in ["dbg", "todo", "\"", "'\\"] {
        assert!(!source.code.contains(hidden), "`{hidden}` is left in: {}", source.code);
    }
    let functions = source.functions();
    let functions: Vec<_> = functions.iter().map(|f| (f.place.as_str(), f.name, f.lines)).collect();
    assert_eq!(functions, [("x.rs:2", "f", 1), ("x.rs:3", "g", 4), ("x.rs:10", "h", 1)]);
    let paths: Vec<_> = source.crate_paths().into_iter().map(|(_, path)| path).collect();
    assert_eq!(paths, ["a::B", "a::C", "e"]);
    assert!(source.product().contains("fn g") && !source.product().contains("fn h"));
    assert_eq!(words("_f f ff", "f").collect::<Vec<_>>(), [3]);
}
