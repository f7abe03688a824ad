//! The path of a route, `/greeting/{name}`.
//!
//! The manifest knows one kind of placeholder: a whole segment. Other frameworks know more (`:name`, `{*rest}`,
//! `{id}.json`), and a path written for one of them would match nothing, or the wrong thing. So the path is checked
//! when the program is compiled.

use syn::LitStr;

/// The first segment that belongs to the host's own routes.
const RESERVED: &str = "workflows";

/// Checks a path and returns the names of its placeholders in order.
pub(crate) fn placeholders(literal: &LitStr) -> syn::Result<Vec<String>> {
    check(&literal.value()).map_err(|why| syn::Error::new(literal.span(), why))
}

fn check(path: &str) -> Result<Vec<String>, String> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err(format!("the path `{path}` must begin with `/`"));
    };
    if path.contains(['?', '#']) {
        return Err("a path ends before `?` and `#`: the query string arrives as parameters of the function".to_owned());
    }
    if let Some(c) = path.chars().find(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("the path `{path}` contains {c:?}: write it percent-encoded, as a browser would send it"));
    }
    if rest.split('/').next() == Some(RESERVED) {
        return Err(format!("`/{RESERVED}` belongs to the host: choose another first segment"));
    }
    let mut names: Vec<String> = Vec::new();
    for segment in rest.split('/') {
        let Some(name) = placeholder(segment)? else { continue };
        if names.iter().any(|other| other == name) {
            return Err(format!("the placeholder `{{{name}}}` stands twice in the path"));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

fn placeholder(segment: &str) -> Result<Option<&str>, String> {
    let whole = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    match whole {
        Some(name) if syn::parse_str::<syn::Ident>(name).is_ok() || is_keyword(name) => Ok(Some(name)),
        Some(name) => Err(format!("`{{{name}}}` is not a placeholder: its name must be that of a parameter")),
        None if segment.starts_with(':') => {
            Err(format!("`{segment}` would be taken literally: write `{{{}}}`", &segment[1..]))
        }
        None if segment.contains(['{', '}']) => Err(format!(
            "`{segment}` mixes text and braces: a placeholder is a whole segment, as in `/greeting/{{name}}`"
        )),
        None => Ok(None),
    }
}

/// `{type}` is a fine placeholder; its parameter is called `r#type`.
fn is_keyword(name: &str) -> bool {
    syn::parse_str::<syn::Ident>(&format!("r#{name}")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn placeholders_are_whole_segments() {
        assert_eq!(check("/"), Ok(vec![]));
        assert_eq!(check("/greeting/{name}/wait"), Ok(vec!["name".to_owned()]));
        assert_eq!(check("/{a}/{type}"), Ok(vec!["a".to_owned(), "type".to_owned()]));
    }

    #[test]
    fn paths_that_would_not_match_as_meant() {
        let refused = |path: &str| check(path).expect_err("must be refused");
        assert!(refused("greeting").contains("must begin with `/`"));
        assert!(refused("/a?b={c}").contains("before `?`"));
        assert!(refused("/a b").contains("percent-encoded"));
        assert!(refused("/workflows/{id}").contains("belongs to the host"));
        assert!(refused("/workflows").contains("belongs to the host"));
        assert!(refused("/:name").contains("write `{name}`"));
        assert!(refused("/{name}.json").contains("a whole segment"));
        assert!(refused("/{*rest}").contains("not a placeholder"));
        assert!(refused("/{}").contains("not a placeholder"));
        assert!(refused("/{a}/{a}").contains("twice"));
        assert_eq!(check("/workflows-of-mine"), Ok(vec![]));
    }
}
