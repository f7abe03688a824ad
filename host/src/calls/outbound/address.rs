//! Which addresses are public, and the networks that an operator grants beside them.
//!
//! What is not public is somebody's inside: this machine, the network beside it, the metadata service of a cloud, which
//! hands out the credentials of the machine to whoever asks. The table follows the registries of special addresses of
//! the IANA, and errs on the side of "not public": what is refused wrongly can be granted by `outbound.private`.
//! Of IPv6 only what the IANA has given to the world (`2000::/3`) is public, so that new special networks are refused
//! until somebody looks. An address that carries another one is what it carries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Networks that are not public, with what they are.
const SPECIAL: [(IpNet, &str); 29] = [
    (v4([0, 0, 0, 0], 8), "this network"),
    (v4([10, 0, 0, 0], 8), PRIVATE),
    (v4([100, 64, 0, 0], 10), "shared (carrier-grade NAT)"),
    (v4([127, 0, 0, 0], 8), "this machine (loopback)"),
    // The metadata services of most clouds are at 169.254.169.254.
    (v4([169, 254, 0, 0], 16), LINK_LOCAL),
    (v4([172, 16, 0, 0], 12), PRIVATE),
    (v4([192, 0, 0, 0], 24), RESERVED),
    (v4([192, 0, 2, 0], 24), "for documentation"),
    (v4([192, 88, 99, 0], 24), TUNNEL),
    (v4([192, 168, 0, 0], 16), PRIVATE),
    (v4([198, 18, 0, 0], 15), "for benchmarks"),
    (v4([198, 51, 100, 0], 24), "for documentation"),
    (v4([203, 0, 113, 0], 24), "for documentation"),
    (v4([224, 0, 0, 0], 4), "multicast"),
    (v4([240, 0, 0, 0], 4), RESERVED),
    // Looks public, and is the inside of Azure: the platform's own service for each machine.
    (v4([168, 63, 129, 16], 32), "the platform of a cloud"),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), "unspecified"),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), "this machine (loopback)"),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), TUNNEL),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), TUNNEL),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), RESERVED),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), "for documentation"),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), TUNNEL),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), "for documentation"),
    // The metadata services of clouds have addresses of this kind too: fd00:ec2::254.
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), PRIVATE),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), LINK_LOCAL),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), PRIVATE),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "multicast"),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), "discarded"),
];

const LINK_LOCAL: &str = "link-local, where clouds have their metadata";
const PRIVATE: &str = "private";
const RESERVED: &str = "reserved";
const TUNNEL: &str = "a tunnel's, with another address in it";

/// What the IANA has given out for the world.
const GLOBAL_V6: IpNet = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// Where a network without IPv4 reaches it: the last four bytes are the address (RFC 6052).
const NAT64: IpNet = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

const fn v4(octets: [u8; 4], prefix: u8) -> IpNet {
    let [a, b, c, d] = octets;
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(parts: [u16; 8], prefix: u8) -> IpNet {
    let [a, b, c, d, e, f, g, h] = parts;
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix))
}

/// A network of addresses: `10.0.0.0/8`, `fd00::/8`, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network = text.parse().or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address)));
        match network {
            Ok(network) if network == network.trunc() => Ok(Self(network)),
            Ok(_) => Err("expected a network without bits behind its prefix, like `10.0.0.0/8`"),
            Err(_) => Err("expected a network, like `10.0.0.0/8` or `fd00::/8`, or an address"),
        }
    }
}

/// What an address is that must not be connected to; `None` for one that is public or in a network of `granted`.
pub(super) fn forbidden(address: IpAddr, granted: &[Network]) -> Option<&'static str> {
    let address = carried(address);
    if granted.iter().any(|network| network.0.contains(&address)) {
        return None;
    }
    let special = SPECIAL.iter().find(|(network, _)| network.contains(&address)).map(|(_, kind)| *kind);
    match address {
        IpAddr::V6(_) if !GLOBAL_V6.contains(&address) => special.or(Some(RESERVED)),
        _ => special,
    }
}

/// The IPv4 address in an IPv6 one, where a connection to the one is a connection to the other.
fn carried(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if NAT64.contains(&address) => {
            let [.., a, b, c, d] = v6.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(address: &str) -> Option<&'static str> {
        forbidden(address.parse().unwrap(), &[])
    }

    #[test]
    fn public_addresses() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00::1",
            "2001:200::1",
            // Of an IPv4 address, by NAT64 and mapped.
            "64:ff9b::101:101",
            "::ffff:1.1.1.1",
        ] {
            assert_eq!(kind(address), None, "{address}");
        }
    }

    #[test]
    fn addresses_that_are_somebodys_inside() {
        for (address, expected) in [
            ("0.0.0.0", "this network"),
            ("10.0.0.1", PRIVATE),
            ("100.100.100.200", "shared (carrier-grade NAT)"),
            ("127.0.0.1", "this machine (loopback)"),
            ("127.255.255.254", "this machine (loopback)"),
            ("169.254.169.254", LINK_LOCAL),
            ("172.31.255.255", PRIVATE),
            ("192.0.0.192", RESERVED),
            ("192.0.2.1", "for documentation"),
            ("192.168.1.1", PRIVATE),
            ("198.19.0.1", "for benchmarks"),
            ("224.0.0.1", "multicast"),
            ("255.255.255.255", RESERVED),
            ("168.63.129.16", "the platform of a cloud"),
            ("::", "unspecified"),
            ("::1", "this machine (loopback)"),
            // Of an IPv4 address: mapped, compatible, NAT64, 6to4, Teredo.
            ("::ffff:127.0.0.1", "this machine (loopback)"),
            ("::ffff:169.254.169.254", LINK_LOCAL),
            ("::127.0.0.1", RESERVED),
            ("64:ff9b::a9fe:a9fe", LINK_LOCAL),
            ("64:ff9b::10.0.0.1", PRIVATE),
            ("64:ff9b:1::1", TUNNEL),
            ("2002:7f00:1::", TUNNEL),
            ("2001::1", TUNNEL),
            ("2001:20::1", RESERVED),
            ("2001:db8::1", "for documentation"),
            ("fc00::1", PRIVATE),
            ("fd00:ec2::254", PRIVATE),
            ("fe80::1", LINK_LOCAL),
            ("fec0::1", PRIVATE),
            ("ff02::1", "multicast"),
            ("100::1", "discarded"),
            ("4000::1", RESERVED),
        ] {
            assert_eq!(kind(address), Some(expected), "{address}");
        }
    }

    #[test]
    fn what_is_granted_is_allowed_in_each_form() {
        let granted = ["10.1.0.0/16".parse().unwrap(), "fd00::7".parse().unwrap()];
        for address in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00::7"] {
            assert_eq!(forbidden(address.parse().unwrap(), &granted), None, "{address}");
        }
        for address in ["10.2.0.1", "fd00::8", "127.0.0.1"] {
            assert!(forbidden(address.parse().unwrap(), &granted).is_some(), "{address}");
        }
    }

    #[test]
    fn networks() {
        for text in ["10.0.0.0/8", "10.0.0.1", "fd00::/8", "::1", "0.0.0.0/0"] {
            assert!(text.parse::<Network>().is_ok(), "{text}");
        }
        for text in ["10.0.0.1/8", "10/8", "10.0.0.0/33", "example.com", "", "localhost"] {
            assert!(text.parse::<Network>().unwrap_err().starts_with("expected a network"), "{text}");
        }
    }
}
