//! Looking names up, and letting the client see only the addresses that it may connect to.
//!
//! A check of a name before the request would be worth nothing: the client looks it up again, and whoever owns the name
//! gives another answer. So there is one look-up, for each connection, and the client gets what passed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::{self, Network};
use super::allow::Reach;

/// What keeps a request from being sent: all that its host's name leads to.
#[derive(Debug, thiserror::Error)]
#[error("`{host}` is at {address}, which is {kind}")]
pub(super) struct Prohibited {
    host: String,
    address: IpAddr,
    kind: &'static str,
}

impl Prohibited {
    pub(super) fn new(host: &str, address: IpAddr, kind: &'static str) -> Self {
        Self { host: host.to_owned(), address, kind }
    }
}

/// The look-up of one client.
#[derive(Debug)]
pub(super) struct Resolver(Arc<Rule>);

#[derive(Debug)]
struct Rule {
    reach: Reach,
    granted: Vec<Network>,
}

impl Resolver {
    pub(super) fn new(reach: Reach, granted: Vec<Network>) -> Self {
        Self(Arc::new(Rule { reach, granted }))
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rule = Arc::clone(&self.0);
        Box::pin(async move {
            let found = look_up(name.as_str()).await?;
            let allowed = rule.allowed(name.as_str(), found)?;
            // The client puts the port of the URL in the place of 0.
            Ok(Box::new(allowed.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

impl Rule {
    /// Those of the addresses that may be connected to; an error if there were some and none is left.
    fn allowed(&self, name: &str, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, Prohibited> {
        let mut allowed = Vec::new();
        let mut prohibited = None;
        for address in found {
            match self.forbidden(address) {
                None => allowed.push(address),
                Some(kind) => prohibited = prohibited.or(Some((address, kind))),
            }
        }
        match prohibited {
            Some((address, kind)) if allowed.is_empty() => Err(Prohibited::new(name, address, kind)),
            _ => Ok(allowed),
        }
    }

    fn forbidden(&self, address: IpAddr) -> Option<&'static str> {
        match self.reach {
            Reach::Anywhere => address::forbidden(address, &self.granted),
            Reach::ThisMachine if address.to_canonical().is_loopback() => None,
            Reach::ThisMachine => Some("not this machine"),
        }
    }
}

async fn look_up(name: &str) -> std::io::Result<Vec<IpAddr>> {
    #[cfg(feature = "failpoints")]
    if let Some(answer) = scripted::answer(name) {
        return Ok(answer);
    }
    Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
}

/// Names that a test makes up: `DBOS_HOST_TEST_RESOLVE=<name>=<address>,<address>;<name>=…`. A name that stands there more
/// than once has another answer at each look-up; the last one stays.
#[cfg(feature = "failpoints")]
mod scripted {
    use std::collections::{HashMap, VecDeque};
    use std::net::IpAddr;
    use std::sync::{Mutex, OnceLock, PoisonError};

    type Answers = HashMap<String, VecDeque<Vec<IpAddr>>>;

    pub(super) fn answer(name: &str) -> Option<Vec<IpAddr>> {
        static ANSWERS: OnceLock<Mutex<Answers>> = OnceLock::new();
        let answers = ANSWERS.get_or_init(|| Mutex::new(read()));
        let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
        let left = answers.get_mut(name)?;
        if left.len() > 1 { left.pop_front() } else { left.front().cloned() }
    }

    fn read() -> Answers {
        let mut answers = Answers::new();
        let text = std::env::var("DBOS_HOST_TEST_RESOLVE").unwrap_or_default();
        for entry in text.split(';').filter(|entry| !entry.is_empty()) {
            let (name, addresses) = entry.split_once('=').expect("a name is given as `<name>=<address>,<address>`");
            let addresses = addresses.split(',').map(|text| text.parse().expect("an address")).collect();
            answers.entry(name.to_owned()).or_default().push_back(addresses);
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(reach: Reach, found: &[&str]) -> Result<Vec<String>, String> {
        let granted = vec!["10.0.0.0/8".parse().unwrap()];
        let found = found.iter().map(|text| text.parse().unwrap()).collect();
        let allowed = Rule { reach, granted }.allowed("name.example", found);
        allowed.map(|found| found.iter().map(ToString::to_string).collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_client_sees_only_what_it_may_connect_to() {
        let seen = |found: &[&str]| allowed(Reach::Anywhere, found);
        assert_eq!(seen(&["1.1.1.1", "127.0.0.1", "10.0.0.1"]).unwrap(), ["1.1.1.1", "10.0.0.1"]);
        assert_eq!(
            seen(&["169.254.169.254", "::1"]).unwrap_err(),
            "`name.example` is at 169.254.169.254, which is link-local, where clouds have their metadata"
        );
        // That a name has no address is for the client to say.
        assert_eq!(seen(&[]).unwrap(), [""; 0]);
    }

    #[test]
    fn localhost_is_this_machine() {
        let seen = |found: &[&str]| allowed(Reach::ThisMachine, found);
        assert_eq!(seen(&["::1", "127.0.0.1", "1.1.1.1", "10.0.0.1"]).unwrap(), ["::1", "127.0.0.1"]);
        assert_eq!(seen(&["10.0.0.1"]).unwrap_err(), "`name.example` is at 10.0.0.1, which is not this machine");
    }
}
