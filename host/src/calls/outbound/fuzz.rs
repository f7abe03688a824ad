//! Entries of `outbound.allow` and addresses of any text. See [`crate::fuzz`].

use reqwest::Url;

use super::allow::{AllowList, Host, Origin};

/// A line with an entry, and one with an address.
///
/// # Panics
/// If an entry without a `*` does not allow itself, or allows another host.
pub fn outbound(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (entry, address) = text.split_once('\n').unwrap_or((text, text));
    let Ok(origin) = entry.parse::<Origin>() else { return };
    let list = AllowList { origins: vec![origin], private: Vec::new() };
    let allowed = |address: &str| Url::parse(address).is_ok_and(|url| list.decide(&url).is_ok());
    let allows_address = allowed(address);
    if entry.contains('*') {
        return;
    }
    assert!(allowed(entry), "`{entry}` allows itself");
    let host = |text: &str| Url::parse(text).ok().and_then(|url| Host::of(&url));
    assert!(!allows_address || host(entry) == host(address), "`{entry}` allows `{address}`, which is another host");
}
