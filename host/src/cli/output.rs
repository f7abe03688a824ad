//! Results of commands, on standard output.
//!
//! Standard output is for results and nothing else, so that it can be piped; logs and errors go to standard error. The
//! reader of a pipe may leave early (`dbos-host workflow list | head -1`): that is no failure of the command.

use std::io::{self, ErrorKind, IsTerminal, Write};

use super::failure::Failure;

/// Prints `text` and a line break.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_to(&mut io::stdout().lock(), text)
}

/// Whether coloured text is welcome on `stream`: only on a terminal, and not when `NO_COLOR` is set to anything.
pub(crate) fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
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
