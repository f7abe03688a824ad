//! The page for people.

use std::fmt::Write;

use crate::book::Entry;

/// How many of the newest signatures the page shows.
const SHOWN: usize = 50;

/// The page with the newest signatures first. It shows no keys: they are the signers'.
pub(crate) fn page(entries: &[Entry]) -> String {
    let mut list = String::new();
    for entry in entries.iter().rev().take(SHOWN) {
        // Writing to a string cannot fail.
        let _ = writeln!(list, "<li>{} <small>{}</small></li>", escape(&entry.name), entry.recorded_at);
    }
    format!(
        "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<title>Guestbook</title>
<style>
body {{ font-family: sans-serif; max-width: 40em; margin: 3em auto; padding: 0 1em }}
small {{ color: #666 }}
</style>
<h1>Guestbook</h1>
<p>{} signatures so far. To sign, get a <a href=\"/key\">key</a> and send <code>{{\"key\": …, \"name\": …}}</code> to
<code>POST /record_greeting</code>. <code>GET /greetings/&lt;key&gt;</code> lists what was signed with a key.</p>
<ul>
{list}</ul>
</html>
",
        entries.len()
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::Book;
    use crate::key::Key;

    #[test]
    fn names_are_shown_newest_first_and_cannot_bring_markup() {
        let (mut book, key) = (Book::in_memory(), Key::new());
        book.sign(key, "Mike", None).unwrap();
        book.sign(key, "<script>", None).unwrap();
        let page = page(book.entries());
        assert!(page.contains("2 signatures"));
        assert!(page.find("<li>&lt;script&gt; ").unwrap() < page.find("<li>Mike ").unwrap());
        assert!(!page.contains("<script>") && !page.contains(&key.to_string()));
    }
}
