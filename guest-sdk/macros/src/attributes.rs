//! Which of this crate's attributes stand on one function.
//!
//! A function can be a step and have routes at the same time, in either order, and the outer attribute runs before the
//! inner one. So each macro looks at the attributes that are still there: to refuse combinations that make no sense,
//! and to know what the function will look like when all of them have run. They are recognised by the last part of
//! their path, because a macro cannot resolve names.

use syn::{Attribute, Ident};

/// The attributes that make a function durable.
pub(crate) const DURABLE: [&str; 3] = ["workflow", "transaction", "communicator"];

/// The attributes that bind a function to a path.
pub(crate) const ROUTES: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The first attribute whose last path segment is one of `names`.
pub(crate) fn find<'a>(attributes: &'a [Attribute], names: &[&str]) -> Option<(&'a Attribute, &'a Ident)> {
    attributes.iter().find_map(|attribute| {
        let last = &attribute.path().segments.last()?.ident;
        names.iter().any(|name| last == name).then_some((attribute, last))
    })
}

/// Attributes that set the level of a lint: they belong to the code that the author wrote.
pub(crate) fn is_lint_level(attribute: &Attribute) -> bool {
    ["allow", "expect", "warn", "deny", "forbid"].iter().any(|level| attribute.path().is_ident(level))
}
