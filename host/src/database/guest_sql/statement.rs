//! Which statements a guest may send.
//!
//! A guest's statements run inside a transaction that belongs to the host: its COMMIT carries the guest's effect and
//! the step's record together. A guest that could end that transaction would separate the two, and a crash between
//! them would run the step twice. So the statements that end, begin or divide a transaction are refused here.
//!
//! # Why the first word is enough
//! The server's extended protocol takes one statement a call (`SELECT 1; COMMIT` is a syntax error there), and inside
//! functions, procedures and DO blocks the server itself refuses transaction control while a transaction block is
//! open (`2D000`). What is left is a statement that begins with one of these words. The server skips whitespace,
//! comments and **empty statements** before it: `;COMMIT` is one statement to it and ends the transaction, so
//! semicolons are skipped here as well.
//!
//! # What this check is not
//! It is no wall against anything but transaction control. A guest can reach most other utility statements through a
//! DO block, and settings through `set_config`. What keeps guests apart is the login role without rights or
//! memberships, and the reset of the session before its next use. Beyond transaction control, a statement is refused
//! only where letting it through would give the guest a hang or a riddle instead of a sentence:
//!
//! | statement | why it is refused |
//! |---|---|
//! | `PREPARE`, `EXECUTE`, `DEALLOCATE` | the names of prepared statements are the driver's; without its own it cannot look up types any more. `PREPARE TRANSACTION` ends the transaction |
//! | `COPY` | its answers are another protocol: `FROM STDIN` waits for data that nobody sends, and the driver loses the connection *(tried)*. From files it needs rights that no guest has |
//! | `LISTEN` | nobody reads the notifications, and the next guest would inherit the subscription |
//! | `SET TRANSACTION`, `SET SESSION CHARACTERISTICS` | isolation and read-only belong to the transaction's declaration; `READ ONLY` would make the host's own record fail |
//!
//! # What is let through, and why that is safe
//! * `DECLARE`, `FETCH`, `CLOSE`: a cursor ends with its transaction; one `WITH HOLD` is closed by the reset.
//! * `SET`, `RESET`, `SET ROLE`, `SET SESSION AUTHORIZATION`, `DISCARD TEMP`, temporary tables, advisory locks: the
//!   login role has no memberships, and the reset undoes the rest. `DISCARD ALL` is refused by the server in a block.
//! * `NOTIFY`: it is sent by the commit, like any other effect.
//! * `CALL`, `DO`: transaction control inside them is refused by the server.
//! * `VACUUM`, `CREATE DATABASE` and their like: the server refuses them in a transaction block, with a clear message.

use super::error::{HostCode, SqlFailure};

const COMMITS: &str = "the host commits when the transaction's function returns without an error";
const ROLLS_BACK: &str = "return an error to roll the transaction back, or use `sql::savepoint` to undo a part of it";
const DIVIDES: &str = "use `sql::savepoint`, which can be undone and leaves the transaction open";
const PREPARES: &str = "send the statement itself with its parameters; the host prepares it";
const COPIES: &str = "insert many rows with `INSERT INTO … SELECT * FROM unnest($1::int[], $2::text[])`";
const LISTENS: &str = "a transaction cannot wait for notifications; wait for an event or a message in the workflow";
const DECLARES: &str = "give the isolation level and read-only where the transaction is declared";
const EMPTY: &str = "a call runs exactly one statement";
const NUL: &str = "the server reads a statement only up to that character";

/// A statement that is not sent to the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("run `{statement}` in a transaction of the host: {advice}")]
pub struct Refused {
    /// The words that were recognised, in capitals.
    statement: &'static str,
    /// What to do instead.
    advice: &'static str,
}

impl From<Refused> for SqlFailure {
    fn from(refused: Refused) -> Self {
        let message = format!("run `{}` in a transaction of the host", refused.statement);
        SqlFailure::host(HostCode::StatementRefused, message).with_hint(refused.advice)
    }
}

/// Refuses a statement that would end, begin or divide the host's transaction, or break the session.
///
/// When it returns `Ok`, the server cannot leave the transaction block by running `sql` as one statement of the
/// extended protocol, except by an error.
pub fn refuse_transaction_control(sql: &str) -> Result<(), Refused> {
    if sql.contains('\0') {
        return refused("a statement with the character U+0000", NUL);
    }
    let mut words = Words(sql.as_bytes());
    let Some(first) = words.next() else {
        return if words.0.is_empty() { refused("an empty statement", EMPTY) } else { Ok(()) };
    };
    match first.as_str() {
        "BEGIN" => refused("BEGIN", DIVIDES),
        "START" => refused("START TRANSACTION", DIVIDES),
        "COMMIT" => refused("COMMIT", COMMITS),
        "END" => refused("END", COMMITS),
        "ROLLBACK" => refused("ROLLBACK", ROLLS_BACK),
        "ABORT" => refused("ABORT", ROLLS_BACK),
        "SAVEPOINT" => refused("SAVEPOINT", DIVIDES),
        "RELEASE" => refused("RELEASE", DIVIDES),
        "PREPARE" => refused("PREPARE", PREPARES),
        "EXECUTE" => refused("EXECUTE", PREPARES),
        "DEALLOCATE" => refused("DEALLOCATE", PREPARES),
        "COPY" => refused("COPY", COPIES),
        "LISTEN" => refused("LISTEN", LISTENS),
        "SET" => refuse_transaction_settings(words),
        _ => Ok(()),
    }
}

/// Looks behind `SET`: the grammar allows `LOCAL` or `SESSION` before `TRANSACTION` and `SESSION CHARACTERISTICS`.
fn refuse_transaction_settings(words: Words<'_>) -> Result<(), Refused> {
    // Three words reach the last one of `SET SESSION SESSION CHARACTERISTICS`, the longest form there is.
    for word in words.take(3) {
        match word.as_str() {
            "LOCAL" | "SESSION" => {}
            "TRANSACTION" => return refused("SET TRANSACTION", DECLARES),
            "CHARACTERISTICS" => return refused("SET SESSION CHARACTERISTICS", DECLARES),
            _ => return Ok(()),
        }
    }
    Ok(())
}

fn refused(statement: &'static str, advice: &'static str) -> Result<(), Refused> {
    Err(Refused { statement, advice })
}

/// The words at the beginning of a statement, in capitals, as the server's scanner would read them. Ends at the first
/// thing that is not a word; what is left is then in the field.
struct Words<'a>(&'a [u8]);

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.0 = skip_blank(self.0);
        let is_start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80;
        if !self.0.first().copied().is_some_and(is_start) {
            return None;
        }
        // The characters of an identifier after its first. `COMMIT$` is a name and not the word COMMIT.
        let length = self.0.iter().take_while(|&&b| is_start(b) || b.is_ascii_digit() || b == b'$').count();
        let (word, rest) = self.0.split_at(length);
        self.0 = rest;
        // Keywords are ASCII, so a word with other characters cannot become one by a lossy reading.
        Some(String::from_utf8_lossy(word).to_ascii_uppercase())
    }
}

/// Skips everything that the server skips before a statement: whitespace, both kinds of comments, semicolons.
fn skip_blank(mut sql: &[u8]) -> &[u8] {
    loop {
        sql = match sql {
            // The vertical tab is whitespace since PostgreSQL 16.
            [b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | b';', rest @ ..] => rest,
            [b'-', b'-', rest @ ..] => {
                let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
                &rest[end..]
            }
            [b'/', b'*', rest @ ..] => skip_block_comment(rest),
            _ => return sql,
        }
    }
}

/// Skips to behind the end of a block comment whose beginning has been read. Comments nest; one without an end takes
/// the whole rest, and the statement then counts as empty (the server would call it a syntax error).
fn skip_block_comment(mut sql: &[u8]) -> &[u8] {
    let mut open = 1_usize;
    while open > 0 {
        sql = match sql {
            [] => return sql,
            [b'/', b'*', rest @ ..] => {
                open += 1;
                rest
            }
            [b'*', b'/', rest @ ..] => {
                open -= 1;
                rest
            }
            [_, rest @ ..] => rest,
        };
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recognised(sql: &str) -> Option<&'static str> {
        refuse_transaction_control(sql).err().map(|refused| refused.statement)
    }

    #[test]
    fn every_statement_of_transaction_control_is_refused() {
        for (sql, statement) in [
            ("BEGIN", "BEGIN"),
            ("begin isolation level read committed", "BEGIN"),
            ("Start Transaction", "START TRANSACTION"),
            ("COMMIT;", "COMMIT"),
            ("commit prepared 'x'", "COMMIT"),
            ("END WORK", "END"),
            ("rollback to s", "ROLLBACK"),
            ("ABORT", "ABORT"),
            ("SAVEPOINT s", "SAVEPOINT"),
            ("RELEASE s", "RELEASE"),
            ("PREPARE TRANSACTION 'x'", "PREPARE"),
            ("prepare p as select 1", "PREPARE"),
            ("EXECUTE s0(1)", "EXECUTE"),
            ("DEALLOCATE ALL", "DEALLOCATE"),
            ("COPY t FROM STDIN", "COPY"),
            ("LISTEN c", "LISTEN"),
        ] {
            assert_eq!(recognised(sql), Some(statement), "{sql}");
        }
    }

    #[test]
    fn nothing_before_the_first_word_hides_it() {
        for prefix in
            [" ", "\t\r\n\x0b\x0c", ";", " ; ;; ", "-- SELECT\n", "-- x\r", "/* a */", "/* a /* b */ c */", "/*/**/*/"]
        {
            assert_eq!(recognised(&format!("{prefix}COMMIT")), Some("COMMIT"), "{prefix:?}");
            assert_eq!(recognised(&format!("{prefix}{prefix}COMMIT/**/AND CHAIN")), Some("COMMIT"), "{prefix:?}");
        }
    }

    #[test]
    fn settings_of_the_transaction_are_refused_and_others_are_not() {
        for sql in
            ["SET TRANSACTION READ ONLY", "set local transaction read only", "SET/**/SESSION transaction read only"]
        {
            assert_eq!(recognised(sql), Some("SET TRANSACTION"), "{sql}");
        }
        for sql in ["SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET SESSION SESSION CHARACTERISTICS AS x"]
        {
            assert_eq!(recognised(sql), Some("SET SESSION CHARACTERISTICS"), "{sql}");
        }
        for sql in ["SET search_path = a", "SET CONSTRAINTS ALL DEFERRED", "SET LOCAL work_mem = '1MB'", "SET"] {
            assert_eq!(recognised(sql), None, "{sql}");
        }
    }

    #[test]
    fn an_empty_statement_is_refused() {
        for sql in ["", "  ", ";", "-- nothing", "/* open", "/* a */ ; -- b"] {
            assert_eq!(recognised(sql), Some("an empty statement"), "{sql:?}");
        }
        assert_eq!(recognised("SELECT 1\0"), Some("a statement with the character U+0000"));
    }

    #[test]
    fn ordinary_statements_pass() {
        for sql in [
            "SELECT 'COMMIT'",
            "-- COMMIT\nSELECT 1",
            "/* COMMIT */ INSERT INTO begin VALUES ($1)",
            "(SELECT 1)",
            "WITH commit AS (SELECT 1) SELECT * FROM commit",
            "commitments",
            "COMMIT$",
            "commité",
            "\u{feff}COMMIT",
            "\"COMMIT\"",
            "DECLARE c CURSOR FOR SELECT 1",
            "CALL p()",
            "- - COMMIT",
        ] {
            assert_eq!(recognised(sql), None, "{sql}");
        }
    }

    #[test]
    fn the_failure_says_what_to_do_instead() {
        let failure = SqlFailure::from(refuse_transaction_control("rollback").expect_err("a failure"));
        assert_eq!(failure.code, "statement_refused");
        assert_eq!(failure.message, "run `ROLLBACK` in a transaction of the host");
        assert!(failure.hint.expect("a hint").contains("sql::savepoint"));
    }

    /// The reasons that the module gives are facts about the server; if one changes, this check must change.
    #[tokio::test]
    async fn the_server_is_as_this_module_says() {
        let client = crate::database::test_server::TestServer::shared().connect().await;
        let code_of = async |sql: &str| {
            client.batch_execute("ROLLBACK; BEGIN").await.expect("a transaction");
            client.execute(sql, &[]).await.err().and_then(|error| error.code().map(|code| code.code().to_owned()))
        };
        assert_eq!(code_of("SELECT 1; COMMIT").await.as_deref(), Some("42601"), "one statement a call");
        assert_eq!(code_of("DO $$ BEGIN COMMIT; END $$").await.as_deref(), Some("2D000"), "not from inside a block");
        assert_eq!(code_of("DO $$ BEGIN EXECUTE 'COMMIT'; END $$").await.as_deref(), Some("0A000"));
        assert_eq!(code_of("DISCARD ALL").await.as_deref(), Some("25001"));
        assert_eq!(code_of("VACUUM").await.as_deref(), Some("25001"));
        // The server skips empty statements, so this one really ends the transaction.
        client.batch_execute("ROLLBACK; BEGIN; SET LOCAL application_name = 'inside'").await.expect("a transaction");
        client.execute("; /**/ ;COMMIT", &[]).await.expect("one statement to the server");
        let row = client.query_one("SHOW application_name", &[]).await.expect("a setting");
        assert_eq!(row.get::<_, String>(0), "", "a local setting ends with its transaction");
        assert_eq!(recognised("; /**/ ;COMMIT"), Some("COMMIT"));
    }
}
