//! Whether the gateway can listen where its settings say.

use std::io;
use std::net::{SocketAddr, TcpListener};

use super::Finding;
use crate::settings::Settings;

pub(super) fn examine(settings: &Settings, is_running: bool) -> Vec<Finding> {
    let nfs = settings.nfs.listen.iter().map(|listen| ("NFS", listen.0));
    let portmap = settings.nfs.portmap.iter().map(|listen| ("the port mapper", listen.0));
    let s3 = settings.s3.listen.iter().map(|listen| ("S3", listen.0));
    let metrics = settings.gateway.metrics.iter().map(|listen| ("metrics", listen.0));
    let all = nfs.chain(portmap).chain(s3).chain(metrics);
    all.map(|(what, address)| port(what, address, is_running)).collect()
}

fn port(what: &str, address: SocketAddr, is_running: bool) -> Finding {
    let check = format!("port of {what}");
    match TcpListener::bind(address) {
        // A gateway that runs holds its ports.
        Ok(_) if is_running => Finding::wrong(check, format!("nobody listens on {address}"))
            .todo("a gateway runs and does not serve there: `tidegate status` and its log say why"),
        Ok(_) => Finding::good(check, format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_running => {
            Finding::good(check, format!("{address} is in use, as it should be: a gateway runs"))
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Finding::wrong(
            check,
            format!("something else listens on {address}"),
        )
        .todo(format!("`ss -ltnp 'sport = {}'` says what: stop it, or listen elsewhere", address.port())),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Finding::wrong(check, format!("this user may not listen on {address}"))
                .todo("ports below 1024 need root or CAP_NET_BIND_SERVICE, which the packaged unit gives")
        }
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            Finding::wrong(check, format!("{address} is no address of this machine"))
                .todo("listen on one of `ip address`, or on 0.0.0.0 for all")
        }
        Err(error) => Finding::wrong(check, format!("{address}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn what_somebody_else_holds_is_in_the_way_unless_it_is_the_gateway() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("its address");
        assert_eq!(port("NFS", address, false).verdict, Verdict::Wrong);
        assert_eq!(port("NFS", address, true).verdict, Verdict::Good);
        drop(taken);
        assert_eq!(port("NFS", address, false).verdict, Verdict::Good);
        assert_eq!(port("NFS", address, true).verdict, Verdict::Wrong);
        let elsewhere = "203.0.113.7:2049".parse().expect("an address for documentation");
        assert!(port("NFS", elsewhere, false).found.contains("no address of this machine"));
    }
}
