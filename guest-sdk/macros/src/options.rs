//! The options of `#[workflow]`, `#[transaction]` and `#[communicator]`.
//!
//! An option that is misspelt, given twice, out of range or without effect would silently leave a step with another
//! policy than its author believes. So each is checked here, and the error names what could have been meant.

use proc_macro2::TokenStream;
use syn::{
    Ident, Lit, LitStr, Path, Token,
    parse::{Parse, ParseStream, Parser},
    punctuated::Punctuated,
};

use crate::{durable::Kind, duration::parse_milliseconds};

/// The isolation of a transaction, as the manifest names it; the first is the default, as in DBOS.
const ISOLATIONS: [&str; 3] = ["serializable", "repeatable read", "read committed"];

/// Checked options, with the defaults of the manifest filled in.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) isolation: &'static str,
    pub(crate) read_only: bool,
    pub(crate) attempts: u32,
    pub(crate) interval_ms: u64,
    pub(crate) backoff: f64,
    pub(crate) max_interval_ms: u64,
    pub(crate) timeout_ms: u64,
    /// The step that undoes it, by its path.
    pub(crate) undo: Option<Path>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            name: None,
            isolation: ISOLATIONS[0],
            read_only: false,
            attempts: 1,
            interval_ms: 1_000,
            backoff: 2.0,
            max_interval_ms: 3_600_000,
            timeout_ms: 60_000,
            undo: None,
        }
    }
}

/// `key`, `key = literal`, or `undo = path`.
struct Entry {
    key: Ident,
    value: Option<Lit>,
    path: Option<Path>,
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = input.parse()?;
        let (mut value, mut path) = (None, None);
        if input.parse::<Option<Token![=]>>()?.is_some() {
            if key == "undo" && !input.peek(Lit) {
                path = Some(input.parse()?);
            } else {
                value = Some(input.parse()?);
            }
        }
        Ok(Entry { key, value, path })
    }
}

/// Reads the options of a function of `kind`.
pub(crate) fn parse(kind: Kind, tokens: TokenStream) -> syn::Result<Options> {
    let entries = Punctuated::<Entry, Token![,]>::parse_terminated.parse2(tokens)?;
    let mut options = Options::default();
    let mut seen: Vec<&Ident> = Vec::new();
    for entry in &entries {
        if seen.contains(&&entry.key) {
            return Err(syn::Error::new(entry.key.span(), format!("`{}` is given twice", entry.key)));
        }
        set(&mut options, kind, entry)?;
        seen.push(&entry.key);
    }
    check_retry(&options, &seen)?;
    Ok(options)
}

fn allowed(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Workflow => &["name"],
        Kind::Transaction => &["name", "isolation", "read_only", "undo"],
        Kind::Communicator => &["name", "attempts", "interval", "backoff", "max_interval", "timeout", "undo"],
    }
}

fn set(options: &mut Options, kind: Kind, entry: &Entry) -> syn::Result<()> {
    let key = entry.key.to_string();
    if !allowed(kind).contains(&key.as_str()) {
        let known = allowed(kind).iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let why = format!("`{key}` is not an option of {}; its options are {known}", kind.with_article());
        return Err(syn::Error::new(entry.key.span(), why));
    }
    match key.as_str() {
        "name" => options.name = Some(text(entry, "\"a-public-name\"")?),
        "isolation" => options.isolation = isolation(entry)?,
        "read_only" => match &entry.value {
            None => options.read_only = true,
            Some(value) => return Err(syn::Error::new(value.span(), "`read_only` stands alone, without a value")),
        },
        "undo" => options.undo = Some(entry.path.clone().ok_or_else(|| wrong(entry, "the_step_that_undoes_it"))?),
        "attempts" => options.attempts = attempts(entry)?,
        "backoff" => options.backoff = backoff(entry)?,
        "interval" => options.interval_ms = duration(entry)?,
        "max_interval" => options.max_interval_ms = duration(entry)?,
        _ => options.timeout_ms = duration(entry)?,
    }
    Ok(())
}

/// What concerns the waits between attempts must have attempts to wait between.
fn check_retry(options: &Options, seen: &[&Ident]) -> syn::Result<()> {
    let find = |name: &str| seen.iter().find(|key| **key == name);
    if options.attempts == 1
        && let Some(key) = find("interval").or(find("backoff")).or(find("max_interval"))
    {
        let why = format!("`{key}` has no effect on a communicator that is tried once: add `attempts = 3`, say");
        return Err(syn::Error::new(key.span(), why));
    }
    if options.read_only
        && let Some(key) = find("undo")
    {
        return Err(syn::Error::new(key.span(), "`undo` has no effect on a transaction that only reads"));
    }
    if options.interval_ms > options.max_interval_ms
        && let Some(key) = find("interval").or(find("max_interval"))
    {
        return Err(syn::Error::new(
            key.span(),
            "`interval` is longer than `max_interval`, which is \"1h\" unless it is given",
        ));
    }
    Ok(())
}

fn wrong(entry: &Entry, expected: &str) -> syn::Error {
    let span = entry.value.as_ref().map_or_else(|| entry.key.span(), Lit::span);
    syn::Error::new(span, format!("`{}` takes a value like this: `{} = {expected}`", entry.key, entry.key))
}

fn text(entry: &Entry, expected: &str) -> syn::Result<LitStr> {
    match &entry.value {
        Some(Lit::Str(literal)) => Ok(literal.clone()),
        _ => Err(wrong(entry, expected)),
    }
}

fn isolation(entry: &Entry) -> syn::Result<&'static str> {
    let literal = text(entry, "\"serializable\"")?;
    let given = literal.value();
    ISOLATIONS.into_iter().find(|known| known.eq_ignore_ascii_case(&given)).ok_or_else(|| {
        let why = format!("`{given}` is not an isolation level; there are \"{}\"", ISOLATIONS.join("\", \""));
        syn::Error::new(literal.span(), why)
    })
}

fn attempts(entry: &Entry) -> syn::Result<u32> {
    match &entry.value {
        Some(Lit::Int(literal)) => match literal.base10_parse() {
            Ok(0) => Err(syn::Error::new(literal.span(), "`attempts` counts the first try too, so it is at least 1")),
            other => other,
        },
        _ => Err(wrong(entry, "3")),
    }
}

fn backoff(entry: &Entry) -> syn::Result<f64> {
    let (factor, span) = match &entry.value {
        Some(Lit::Int(literal)) => (literal.base10_parse::<f64>()?, literal.span()),
        Some(Lit::Float(literal)) => (literal.base10_parse::<f64>()?, literal.span()),
        _ => return Err(wrong(entry, "2.0")),
    };
    if factor.is_finite() && factor >= 1.0 {
        Ok(factor)
    } else {
        Err(syn::Error::new(span, "`backoff` multiplies the wait before each further attempt, so it is at least 1"))
    }
}

fn duration(entry: &Entry) -> syn::Result<u64> {
    let literal = text(entry, "\"1s\"")?;
    parse_milliseconds(&literal.value()).map_err(|why| syn::Error::new(literal.span(), why))
}

#[cfg(test)]
mod tests {
    use super::{Options, parse};
    use crate::durable::Kind::{self, Communicator, Transaction, Workflow};
    use proc_macro2::TokenStream;
    use quote::quote;

    fn refused(kind: Kind, tokens: TokenStream) -> String {
        parse(kind, tokens).expect_err("must be refused").to_string()
    }

    #[test]
    fn nothing_given_means_the_defaults_of_the_manifest() {
        for kind in [Workflow, Transaction, Communicator] {
            assert_eq!(parse(kind, quote!()).unwrap(), Options::default());
        }
    }

    #[test]
    fn everything_given() {
        let options = parse(Transaction, quote!(isolation = "REPEATABLE READ", read_only, name = "t")).unwrap();
        assert_eq!((options.isolation, options.read_only), ("repeatable read", true));
        assert_eq!(options.name.unwrap().value(), "t");
        let given = quote!(attempts = 5, interval = "2s", backoff = 3, max_interval = "10m", timeout = "500ms");
        let options = parse(Communicator, given).unwrap();
        assert_eq!((options.attempts, options.interval_ms, options.backoff), (5, 2_000, 3.0));
        assert_eq!((options.max_interval_ms, options.timeout_ms), (600_000, 500));
    }

    #[test]
    fn options_that_do_not_exist_or_do_not_fit() {
        assert_eq!(
            refused(Workflow, quote!(attempts = 3)),
            "`attempts` is not an option of a workflow; its options are `name`"
        );
        assert_eq!(
            refused(Transaction, quote!(readonly)),
            "`readonly` is not an option of a transaction; its options are `name`, `isolation`, `read_only`, `undo`"
        );
        assert_eq!(refused(Communicator, quote!(attempts = 2, attempts = 3)), "`attempts` is given twice");
        assert!(refused(Communicator, quote!(attempts = 0)).contains("at least 1"));
        assert!(refused(Communicator, quote!(attempts = "3")).contains("`attempts = 3`"));
        assert!(refused(Communicator, quote!(attempts = 3, interval = 5)).contains("`interval = \"1s\"`"));
        assert!(refused(Communicator, quote!(attempts = 3, backoff = 0.5)).contains("at least 1"));
        assert!(refused(Communicator, quote!(timeout = "fast")).contains("is not a duration"));
        assert!(refused(Transaction, quote!(isolation = "snapshot")).contains("\"repeatable read\""));
        assert!(refused(Transaction, quote!(read_only = true)).contains("stands alone"));
    }

    #[test]
    fn an_undo_is_named_by_its_path() {
        let options = parse(Communicator, quote!(undo = payments::refund)).unwrap();
        assert_eq!(options.undo, Some(syn::parse_quote!(payments::refund)));
        assert!(refused(Communicator, quote!(undo = "refund")).contains("`undo = the_step_that_undoes_it`"));
        assert!(refused(Communicator, quote!(undo)).contains("`undo = the_step_that_undoes_it`"));
        assert!(refused(Transaction, quote!(read_only, undo = refund)).contains("only reads"));
    }

    #[test]
    fn options_without_effect() {
        assert!(refused(Communicator, quote!(backoff = 3)).contains("has no effect"));
        assert!(refused(Communicator, quote!(attempts = 2, interval = "2h")).contains("longer than `max_interval`"));
    }
}
