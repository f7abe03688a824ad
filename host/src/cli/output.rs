//! Results of commands, on standard output.
//!
//! Standard output is for results and nothing else, so that it can be piped; logs and errors go to standard error. The
//! reader of a pipe may leave early (`dbos-host workflow list | head -1`): that is no failure of the command.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;

use clap::ValueEnum;

use super::failure::Failure;

/// Prints `text` and a line break.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_to(&mut io::stdout().lock(), text)
}

/// Says something to whoever sits at the terminal, on standard error. A closed one is nobody's problem any more.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end_matches('\n'));
}

/// The same without a line break, for a question whose answer follows.
pub(crate) fn ask(question: &str) {
    let mut error = io::stderr().lock();
    let _ = write!(error, "{question}").and_then(|()| error.flush());
}

/// When colours are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    #[default]
    Auto,
    Always,
    Never,
}

static CHOICE: OnceLock<ColorChoice> = OnceLock::new();

/// Says what the command line wants. To be called once, before anything is printed.
pub(crate) fn choose_colour(choice: ColorChoice) {
    // A second choice can only be a test's.
    let _ = CHOICE.set(choice);
}

/// Whether coloured text is welcome on `stream`.
pub(crate) fn colour(stream: &impl IsTerminal) -> bool {
    let choice = CHOICE.get().copied().unwrap_or_default();
    wants_colour(choice, stream.is_terminal(), |name| std::env::var(name).ok())
}

/// The command line decides, then the variables that many programs share (`NO_COLOR`, `CLICOLOR_FORCE`, `CLICOLOR`), then
/// whether there is a terminal that can show colours.
fn wants_colour(choice: ColorChoice, terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if set("NO_COLOR").is_some() => false,
        ColorChoice::Auto if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") => true,
        ColorChoice::Auto if set("CLICOLOR").is_some_and(|value| value == "0") => false,
        ColorChoice::Auto => terminal && set("TERM").is_some_and(|value| value != "dumb"),
    }
}

/// How many columns a table may have: as many as the terminal. Whoever reads a pipe gets everything.
pub(crate) fn width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    // A terminal that does not know how wide it is says 0.
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

fn print_to(out: &mut impl Write, text: &str) -> Result<(), Failure> {
    let mut bytes = text.trim_end_matches('\n').as_bytes().to_vec();
    bytes.push(b'\n');
    match out.write_all(&bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::to("write to standard output").because(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn colours_are_for_terminals_and_for_those_who_ask() {
        let term = ("TERM", "xterm");
        let wants = |choice, terminal, variables: &[(&str, &str)]| {
            wants_colour(choice, terminal, |name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(wants(ColorChoice::Auto, true, &[term]));
        assert!(!wants(ColorChoice::Auto, false, &[term]));
        assert!(!wants(ColorChoice::Auto, true, &[("TERM", "dumb")]));
        assert!(!wants(ColorChoice::Auto, true, &[term, ("NO_COLOR", "1")]));
        assert!(wants(ColorChoice::Auto, true, &[term, ("NO_COLOR", "")]));
        assert!(!wants(ColorChoice::Auto, true, &[term, ("CLICOLOR", "0")]));
        assert!(wants(ColorChoice::Auto, false, &[("CLICOLOR_FORCE", "1")]));
        assert!(!wants(ColorChoice::Auto, false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
        assert!(wants(ColorChoice::Always, false, &[("NO_COLOR", "1")]));
        assert!(!wants(ColorChoice::Never, true, &[term]));
    }

    #[test]
    fn text_ends_with_one_line_break() {
        let mut out = Vec::new();
        print_to(&mut out, "a\nb\n").expect("a vector takes everything");
        assert_eq!(out, b"a\nb\n");
    }

    #[test]
    fn only_a_reader_that_left_is_forgiven() {
        assert!(print_to(&mut Broken(ErrorKind::BrokenPipe), "a").is_ok());
        let failure = print_to(&mut Broken(ErrorKind::StorageFull), "a").expect_err("the disk is full");
        assert!(failure.to_string().starts_with("[failed]: failed to write to standard output\n  because "));
    }
}
