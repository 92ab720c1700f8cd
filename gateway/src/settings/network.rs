//! Networks of clients, addresses to listen on, and URLs of endpoints and proxies.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::values::text_setting;

/// A network: an address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether the address lies in it. An IPv4 address that arrives as `::ffff:a.b.c.d` counts as
    /// IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                masked(network.to_bits().into(), self.bits, 32)
                    == masked(address.to_bits().into(), self.bits, 32)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                masked(network.to_bits(), self.bits, 128) == masked(address.to_bits(), self.bits, 128)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// The leading `bits` of an address of `width` bits.
fn masked(address: u128, bits: u8, width: u8) -> u128 {
    address.checked_shr(u32::from(width - bits)).unwrap_or(0)
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| "is no network address")?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => width,
            Some(bits) => {
                bits.parse().ok().filter(|bits| *bits <= width).ok_or("has a wrong prefix length")?
            }
        };
        let network = Self { address, bits };
        let host_bits_are_zero = match address {
            IpAddr::V4(v4) => bits == 32 || v4.to_bits().checked_shl(bits.into()).unwrap_or(0) == 0,
            IpAddr::V6(v6) => bits == 128 || v6.to_bits().checked_shl(bits.into()).unwrap_or(0) == 0,
        };
        if host_bits_are_zero { Ok(network) } else { Err("has bits set behind the prefix length".to_owned()) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

text_setting!(Network, "a network such as \"10.0.0.0/8\", \"192.168.1.7\" or \"fd00::/8\"");

/// Where to listen: an IP address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listen(pub SocketAddr);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| "is no address and port".to_owned())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_setting!(
    Listen,
    "an address and port such as \"0.0.0.0:2049\" or \"[::1]:2049\" (port 0: any free one)"
);

/// The address of an HTTP service: scheme, host, port, nothing else. No name or password may be in
/// it, so it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url(String);

impl Url {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let place = rest.ok_or("does not begin with http:// or https://")?.trim_end_matches('/');
        if place.contains('@') {
            return Err("has a user name in it".to_owned());
        }
        let legal = |letter: char| letter.is_ascii_alphanumeric() || "-._:[]".contains(letter);
        if place.is_empty() || place.len() > 255 || !place.chars().all(legal) {
            return Err("has no host and port alone after the scheme".to_owned());
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl super::schema::Setting for Url {
    const SHOWN: bool = false; // Somebody may have written a password into it.

    fn form() -> String {
        "a URL such as \"https://s3.example.net:9000\", without a path, user name or password".to_owned()
    }

    fn parse(value: &toml_edit::Value) -> Result<Self, String> {
        value.as_str().ok_or_else(|| "is not a string".to_owned())?.parse()
    }

    fn write(&self) -> toml_edit::Value {
        self.to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        network.parse::<Network>().expect(network).contains(address.parse().expect(address))
    }

    #[test]
    fn a_network_contains_what_shares_its_leading_bits() {
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("0.0.0.0/0", "203.0.113.9") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("192.168.1.7", "192.168.1.7") && !contains("192.168.1.7", "192.168.1.6"));
        assert!(contains("fd00::/8", "fd12::1") && !contains("fd00::/8", "fe80::1"));
        assert!(contains("::/0", "2001:db8::1"));
    }

    #[test]
    fn an_ipv4_client_on_an_ipv6_socket_counts_as_ipv4() {
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
    }

    #[test]
    fn networks_that_say_something_else_than_meant_are_refused() {
        for text in
            ["", "10.0.0.0/33", "10.0.0.1/8", "fd00::1/8", "::/129", "host", "10.0.0.0/-1", "10.0.0/8"]
        {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_url_is_scheme_host_and_port() {
        for text in ["http://127.0.0.1:9000", "https://s3.example.net", "http://[::1]:80"] {
            assert_eq!(text.parse::<Url>().expect(text).as_str(), text);
        }
        assert_eq!("http://h:1/".parse::<Url>().expect("slash").as_str(), "http://h:1");
        for text in ["ftp://h", "h:1", "http://", "http://u:p@h", "http://h/path", "http://h?x", "http://h h"]
        {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }
}
