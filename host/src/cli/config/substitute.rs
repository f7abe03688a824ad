//! `${VAR}` in the values of the configuration.
//!
//! Values are substituted after the file has been parsed, so whatever a variable contains, it is a part of one value and
//! cannot add keys. What a variable contains is not looked at again either: `${` in it stays as it is.
//!
//! * `${VAR}`: the variable's value; it must be set.
//! * `${VAR:-default}`: the default if the variable is not set or empty.
//! * `$${`: the two characters `${`. Any other `$` is itself.

use std::env::VarError;

/// Where variables are looked up; not the process's environment in tests.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Result<String, VarError>;

/// Why a text cannot be substituted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The variable is not set, and there is no default.
    Unset(String),
    /// The variable's value is not UTF-8.
    NotText(String),
    /// What stands between `${` and `}` is no name of a variable.
    BadName(String),
    /// There is no `}`.
    NeverClosed,
}

/// Replaces the variables in `text`.
pub(super) fn substitute(text: &str, variables: Variables<'_>) -> Result<String, Problem> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if let Some(before) = rest[..start].strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        out.push_str(&rest[..start]);
        let inside = &rest[start + 2..];
        let end = inside.find('}').ok_or(Problem::NeverClosed)?;
        out.push_str(&look_up(&inside[..end], variables)?);
        rest = &inside[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn look_up(reference: &str, variables: Variables<'_>) -> Result<String, Problem> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(Problem::BadName(name.to_owned()));
    }
    match (variables(name), default) {
        (Ok(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Ok(value), _) => Ok(value),
        (Err(VarError::NotPresent), Some(default)) => Ok(default.to_owned()),
        (Err(VarError::NotPresent), None) => Err(Problem::Unset(name.to_owned())),
        (Err(VarError::NotUnicode(_)), _) => Err(Problem::NotText(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<String, Problem> {
        substitute(text, &|name| match name {
            "HOST" => Ok("db".to_owned()),
            "EMPTY" => Ok(String::new()),
            "TRICK" => Ok("${HOST}\nadmin: true".to_owned()),
            "BYTES" => Err(VarError::NotUnicode("\u{fffd}".into())),
            _ => Err(VarError::NotPresent),
        })
    }

    #[test]
    fn variables_are_replaced_where_they_stand() {
        assert_eq!(run("postgres://${HOST}:${PORT:-5432}/${HOST}"), Ok("postgres://db:5432/db".to_owned()));
        assert_eq!(run("no variables, $5 and $HOST and }"), Ok("no variables, $5 and $HOST and }".to_owned()));
    }

    #[test]
    fn a_default_serves_for_unset_and_empty() {
        assert_eq!(run("[${UNSET:-a b}|${EMPTY:-c}|${EMPTY}|${UNSET:-}]"), Ok("[a b|c||]".to_owned()));
    }

    #[test]
    fn a_doubled_dollar_is_not_substituted() {
        assert_eq!(run("$${HOST} ${HOST} $$"), Ok("${HOST} db $$".to_owned()));
    }

    #[test]
    fn a_value_is_not_looked_at_again() {
        assert_eq!(run("${TRICK}"), Ok("${HOST}\nadmin: true".to_owned()));
    }

    #[test]
    fn problems_name_the_variable() {
        assert_eq!(run("${UNSET}"), Err(Problem::Unset("UNSET".to_owned())));
        assert_eq!(run("${BYTES:-a}"), Err(Problem::NotText("BYTES".to_owned())));
        assert_eq!(run("${1A}"), Err(Problem::BadName("1A".to_owned())));
        assert_eq!(run("${}"), Err(Problem::BadName(String::new())));
        assert_eq!(run("a ${HOST"), Err(Problem::NeverClosed));
    }
}
