//! Exact decimals out of the server's binary format.
//!
//! A numeric arrives as digits in base 10,000, the place of the first one, a sign, and how many decimals are shown.
//! Turning it into a floating-point number on the way would lose digits of other people's money, so it is written as
//! decimal text, with every zero that the column's scale asks for.

use super::reader::{DecodeError, Reader};

/// Writes the decimal text of a numeric.
pub(super) fn write(reader: &mut Reader<'_>, out: &mut String) -> Result<(), DecodeError> {
    let count = reader.u16()?;
    let weight = reader.i16()?;
    let sign = reader.u16()?;
    let decimals = usize::from(reader.u16()?);
    match sign {
        0x0000 => {}
        0x4000 => out.push('-'),
        0xC000 => return special("NaN", out),
        0xD000 => return special("Infinity", out),
        0xF000 => return special("-Infinity", out),
        _ => return Err(DecodeError::Malformed),
    }
    let mut groups = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let group = reader.u16()?;
        if group > 9_999 {
            return Err(DecodeError::Malformed);
        }
        groups.push(group);
    }
    write_whole_part(&groups, weight, out);
    write_decimals(&groups, weight, decimals, out);
    Ok(())
}

fn special(name: &str, out: &mut String) -> Result<(), DecodeError> {
    out.push_str(name);
    Ok(())
}

/// The group of four digits at `place`: 0 is the one before the decimal point, -1 the one after it. The server leaves
/// out groups of zeros at both ends.
fn group_at(groups: &[u16], weight: i16, place: i32) -> u16 {
    let index = usize::try_from(i32::from(weight) - place).ok();
    index.and_then(|index| groups.get(index)).copied().unwrap_or(0)
}

fn write_whole_part(groups: &[u16], weight: i16, out: &mut String) {
    if weight < 0 || groups.is_empty() {
        out.push('0');
        return;
    }
    for place in (0..=i32::from(weight)).rev() {
        let group = group_at(groups, weight, place);
        if place == i32::from(weight) {
            out.push_str(&group.to_string());
        } else {
            out.push_str(&format!("{group:04}"));
        }
    }
}

fn write_decimals(groups: &[u16], weight: i16, decimals: usize, out: &mut String) {
    if decimals == 0 {
        return;
    }
    out.push('.');
    let end = out.len() + decimals;
    let mut place = -1;
    while out.len() < end {
        out.push_str(&format!("{:04}", group_at(groups, weight, place)));
        place -= 1;
    }
    out.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(words: &[u16]) -> Result<String, DecodeError> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let mut out = String::new();
        write(&mut Reader(&bytes), &mut out).map(|()| out)
    }

    #[test]
    fn digits_places_and_signs() {
        const MINUS_ONE: u16 = u16::MAX;
        const MINUS_TWO: u16 = u16::MAX - 1;
        for (words, expected) in [
            (&[0, 0, 0, 0][..], "0"),
            (&[0, 0, 0, 2], "0.00"),
            (&[2, 0, 0, 2, 12, 5000], "12.50"),
            (&[2, 0, 0x4000, 3, 1, 20], "-1.002"),
            (&[1, 2, 0, 0, 7], "700000000"),
            (&[3, 1, 0, 1, 12, 34, 5000], "120034.5"),
            (&[1, MINUS_ONE, 0, 4, 1], "0.0001"),
            (&[1, MINUS_TWO, 0x4000, 8, 1], "-0.00000001"),
            (&[0, 0, 0xC000, 0], "NaN"),
            (&[0, 0, 0xD000, 0], "Infinity"),
            (&[0, 0, 0xF000, 0], "-Infinity"),
        ] {
            assert_eq!(text(words).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn broken_bytes_are_an_error() {
        for words in [&[1, 0, 0][..], &[1, 0, 0, 0], &[1, 0, 0, 0, 10_000], &[0, 0, 1, 0]] {
            assert_eq!(text(words), Err(DecodeError::Malformed), "{words:?}");
        }
    }
}
