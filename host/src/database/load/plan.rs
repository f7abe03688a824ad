//! Which histories are read at once.
//!
//! This module must not know SQL or what waits for the histories: it looks at sizes.

use crate::database::attempt::Size;

/// Records that are read at once. Their rows are some hundred bytes each beside the payload, and take the server and this
/// process some ten milliseconds.
const MOST_RECORDS: usize = 5_000;

/// Bytes of payload that are read at once: some ten milliseconds too, and nothing that a host would notice in its memory.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// What is read at once, as positions in the list of sizes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// These together.
    Together(Vec<usize>),
    /// This one by itself, and beside the others: it is larger than what is read at once.
    Alone(usize),
}

/// Cuts runs of these sizes into reads. Each run is in one of them.
pub(super) fn plan(sizes: &[Size]) -> Vec<Read> {
    let (mut reads, mut together) = (Vec::new(), Vec::new());
    let (mut records, mut bytes) = (0, 0);
    for (position, size) in sizes.iter().enumerate() {
        let of_run = size.bytes.filter(|bytes| *bytes <= MOST_BYTES && size.records <= MOST_RECORDS);
        let Some(of_run) = of_run else {
            // First: it takes longest.
            reads.insert(0, Read::Alone(position));
            continue;
        };
        if records + size.records > MOST_RECORDS || bytes + of_run > MOST_BYTES {
            reads.push(Read::Together(std::mem::take(&mut together)));
            (records, bytes) = (0, 0);
        }
        together.push(position);
        (records, bytes) = (records + size.records, bytes + of_run);
    }
    if !together.is_empty() {
        reads.push(Read::Together(together));
    }
    reads
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(records: usize, bytes: usize) -> Size {
        Size { records, bytes: Some(bytes) }
    }

    #[test]
    fn small_runs_are_read_together() {
        assert_eq!(plan(&[size(3, 100), size(0, 0), size(9, 10)]), [Read::Together(vec![0, 1, 2])]);
        assert_eq!(plan(&[]), []);
    }

    #[test]
    fn no_read_is_larger_than_its_bounds() {
        let half = MOST_BYTES / 2 + 1;
        assert_eq!(plan(&[size(1, half), size(1, half)]), [Read::Together(vec![0]), Read::Together(vec![1])]);
        let many = MOST_RECORDS / 2 + 1;
        assert_eq!(plan(&[size(many, 1), size(many, 1)]), [Read::Together(vec![0]), Read::Together(vec![1])]);
        assert_eq!(plan(&[size(MOST_RECORDS, MOST_BYTES)]), [Read::Together(vec![0])]);
    }

    #[test]
    fn what_is_too_large_is_read_by_itself_and_does_not_part_the_others() {
        let unknown = Size { records: 100_000, bytes: None };
        assert_eq!(
            plan(&[size(1, 1), unknown, size(1, MOST_BYTES + 1), size(2, 2)]),
            [Read::Alone(2), Read::Alone(1), Read::Together(vec![0, 3])]
        );
    }
}
