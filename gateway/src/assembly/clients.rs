//! Who is connected now: asked of the kernel, which knows it for every door in the same way (proc(5), `/proc/net/tcp`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::control::{ClientInfo, ControlError, ErrorKind};
use crate::settings::{Listen, Settings};

/// The most lines of the kernel's table that are looked at.
const LINES_MAX: usize = 1 << 17;
/// The most machines that are told.
const CLIENTS_MAX: usize = 10_000;
/// `TCP_ESTABLISHED`.
const ESTABLISHED: &str = "01";

/// The machines that are connected to the doors of these settings.
pub(super) fn clients(settings: &Settings) -> Result<Vec<ClientInfo>, ControlError> {
    let mut doors = BTreeMap::new();
    for (door, listens) in
        [("nfs", &settings.nfs.listen), ("s3", &settings.s3.listen), ("nbd", &settings.nbd.listen)]
    {
        doors.extend(listens.iter().map(|Listen(address)| (address.port(), door)));
    }
    let mut found = BTreeMap::new();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        match std::fs::read_to_string(table) {
            Ok(text) => count(&text, &doors, &mut found),
            // A machine without IPv6 has no second one.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(ControlError::from_source(ErrorKind::Failed, &format!("read {table}"), &error));
            }
        }
    }
    let clients: BTreeSet<ClientInfo> = found
        .into_iter()
        .map(|((address, door), connections): ((IpAddr, &str), u64)| ClientInfo {
            address: address.to_string(),
            door: door.to_owned(),
            connections,
        })
        .collect();
    Ok(clients.into_iter().take(CLIENTS_MAX).collect())
}

/// Counts the connections to doors in a table of the kernel.
fn count<'d>(text: &str, doors: &BTreeMap<u16, &'d str>, found: &mut BTreeMap<(IpAddr, &'d str), u64>) {
    for line in text.lines().skip(1).take(LINES_MAX) {
        let mut words = line.split_whitespace().skip(1);
        let (Some(local), Some(remote), Some(ESTABLISHED)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let port = local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        let door = port.and_then(|port| doors.get(&port));
        let address = remote.split_once(':').and_then(|(address, _)| address_of(address));
        if let (Some(door), Some(address)) = (door, address) {
            *found.entry((address, *door)).or_default() += 1;
        }
    }
}

/// An address as the kernel writes it: words of 32 bits in the byte order of the machine.
fn address_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            let bytes: [u8; 16] = words.try_into().ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_to_doors_are_counted_by_machine() {
        let text = "  sl  local_address rem_address   st tx_queue\n\
                       0: 00000000:0801 00000000:0000 0A 0\n\
                       1: 0100007F:0801 1100000A:03E7 01 0\n\
                       2: 0100007F:0801 1100000A:03E8 01 0\n\
                       3: 0100007F:0801 1100000A:03E9 06 0\n\
                       4: 0100007F:0016 1200000A:C350 01 0\n\
                       5: garbage\n";
        let v6 =
            "  sl\n   0: 0000000000000000FFFF00000100007F:2328 0000000000000000FFFF00001100000A:C350 01 0\n";
        let doors = BTreeMap::from([(2049, "nfs"), (9000, "s3")]);
        let mut found = BTreeMap::new();
        count(text, &doors, &mut found);
        count(v6, &doors, &mut found);
        let client: IpAddr = "10.0.0.17".parse().expect("an address");
        assert_eq!(found, BTreeMap::from([((client, "nfs"), 2), ((client, "s3"), 1)]));
    }

    #[test]
    fn a_connection_to_this_process_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let _client = std::net::TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        let _server = listener.accept().expect("a connection");
        let text = std::fs::read_to_string("/proc/self/net/tcp").expect("readable");
        let mut found = BTreeMap::new();
        count(&text, &BTreeMap::from([(port, "nfs")]), &mut found);
        assert_eq!(found, BTreeMap::from([((IpAddr::from([127, 0, 0, 1]), "nfs"), 1)]));
    }
}
