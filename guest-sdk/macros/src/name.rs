//! Public names of workflows, steps and routes.
//!
//! Runs and records are kept under these names for years, and they stand in URLs and on command lines, so the manifest
//! allows few characters. A Rust name may hold more (`größe`), which must be found when the program is compiled and not
//! when it is loaded.

use syn::{Ident, LitStr, ext::IdentExt};

/// The longest name that the manifest allows: what fits the name columns of every DBOS SDK.
const LONGEST: usize = 255;

/// The public name of a function: the one that its author gave, or its own.
pub(crate) fn public_name(function: &Ident, given: Option<&LitStr>) -> syn::Result<String> {
    match given {
        Some(literal) => match complaint(&literal.value()) {
            None => Ok(literal.value()),
            Some(complaint) => Err(syn::Error::new(literal.span(), complaint)),
        },
        None => {
            let own = function.unraw().to_string();
            match complaint(&own) {
                None => Ok(own),
                Some(complaint) => {
                    Err(syn::Error::new(function.span(), format!("{complaint}; give it one with `name = \"…\"`")))
                }
            }
        }
    }
}

fn complaint(name: &str) -> Option<String> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !starts_well || !name.chars().all(allowed) {
        Some(format!("`{name}` cannot be a public name: use `A-Z a-z 0-9 _ . -`, starting with a letter or `_`"))
    } else if name.len() > LONGEST {
        Some(format!("a public name has at most {LONGEST} characters, this one has {}", name.len()))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::public_name;
    use quote::format_ident;
    use syn::{LitStr, parse_quote};

    #[test]
    fn the_function_names_itself_unless_told_otherwise() {
        let given: LitStr = parse_quote!("billing.charge-card");
        assert_eq!(public_name(&format_ident!("greet"), None).unwrap(), "greet");
        assert_eq!(public_name(&format_ident!("r#type"), None).unwrap(), "type");
        assert_eq!(public_name(&format_ident!("greet"), Some(&given)).unwrap(), "billing.charge-card");
    }

    #[test]
    fn names_that_the_manifest_refuses() {
        let error = public_name(&format_ident!("größe"), None).unwrap_err().to_string();
        assert!(
            error.contains("`größe` cannot be a public name") && error.ends_with("give it one with `name = \"…\"`"),
            "{error}"
        );
        for bad in ["", "1st", "a b", "temp:x", "-a"] {
            let given = LitStr::new(bad, proc_macro2::Span::call_site());
            assert!(public_name(&format_ident!("f"), Some(&given)).is_err(), "{bad}");
        }
        let long = LitStr::new(&"a".repeat(256), proc_macro2::Span::call_site());
        assert!(public_name(&format_ident!("f"), Some(&long)).unwrap_err().to_string().contains("at most 255"));
    }
}
