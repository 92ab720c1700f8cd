//! Whether the gateway can listen where its settings say.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use tidegate_protocols::portmap::PORTMAP_PORT;

use super::Finding;
use crate::settings::Settings;

pub(super) fn examine(settings: &Settings, is_running: bool) -> Vec<Finding> {
    let nfs = settings.nfs.listen.iter().map(|listen| ("NFS", listen.0));
    let s3 = settings.s3.listen.iter().map(|listen| ("S3", listen.0));
    let metrics = settings.gateway.metrics.iter().map(|listen| ("metrics", listen.0));
    let all = nfs.chain(s3).chain(metrics);
    let all = all.map(|(what, address)| port(what, address, is_running));
    let own = settings.nfs.portmap.iter().map(|listen| port_mapper(listen.0, is_running));
    let system = settings.nfs.rpcbind.then(|| system_port_mapper((Ipv4Addr::LOCALHOST, PORTMAP_PORT).into()));
    all.chain(own).chain(system).collect()
}

/// Whoever has the port of our port mapper is asked to tell of the gateway in its place.
fn port_mapper(address: SocketAddr, is_running: bool) -> Finding {
    let what = "the port mapper";
    let is_taken = || TcpListener::bind(address).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
    if is_running || !is_taken() {
        return port(what, address, is_running);
    }
    Finding::warning(format!("port of {what}"), format!("something else listens on {address}")).todo(
        "if it is rpcbind, the gateway registers with it: say so with `rpcbind = true` instead of `portmap` in [nfs]; if it is not, the gateway does not start",
    )
}

fn system_port_mapper(address: SocketAddr) -> Finding {
    let check = "port mapper of this machine";
    match TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
        Ok(_) => Finding::good(check, format!("somebody listens on {address}")),
        Err(error) => Finding::warning(check, format!("nobody answers on {address}: {error}")).todo(
            "`systemctl enable --now rpcbind.socket` starts it; without it clients mount with `port=` and `mountport=`",
        ),
    }
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
    #[test]
    fn whoever_has_the_port_of_the_port_mapper_may_be_one_himself() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("its address");
        assert_eq!(port_mapper(address, false).verdict, Verdict::Warning);
        assert_eq!(port_mapper(address, true).verdict, Verdict::Good);
        assert_eq!(system_port_mapper(address).verdict, Verdict::Good);
        drop(taken);
        assert_eq!(port_mapper(address, false).verdict, Verdict::Good);
        assert_eq!(system_port_mapper(address).verdict, Verdict::Warning);
    }
}
