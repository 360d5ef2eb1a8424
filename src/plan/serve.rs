//! A run of `serve`.

use super::Target;
use crate::cli;
use crate::failure::Failure;
use imgraft_vfs::kernel::Access;
use imgraft_vfs::kernel::nbd::{self, Address, Until};
use std::net::ToSocketAddrs;
use std::path::PathBuf;

/// A run of `serve`.
#[derive(Debug)]
pub struct Serve {
    /// What.
    pub target: Target,
    /// Where.
    pub address: Address,
    /// Whether clients may write.
    pub access: nbd::Access,
    /// How long.
    pub until: Until,
}

impl Serve {
    /// Validates what was typed.
    pub fn new(typed: cli::Serve) -> Result<Self, Failure> {
        let access = if typed.read_only { nbd::Access::ReadOnly } else { nbd::Access::ReadWrite };
        let until = if typed.persistent { Until::Stopped } else { Until::LastClient };
        let address = address(&typed.nbd)?;
        Ok(Self { target: Target::of(typed.file, &typed.partition, Access::userspace())?, address, access, until })
    }
}

fn address(typed: &str) -> Result<Address, Failure> {
    if let Some(path) = typed.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        return Ok(Address::Unix(PathBuf::from(path)));
    }
    let refuse = |why: &str| {
        Failure::usage(format!("--nbd {typed}: {why}"))
            .with_hint("type unix:PATH, or tcp:ADDRESS:PORT (tcp:127.0.0.1:10809, tcp:[::1]:0)")
    };
    let Some(typed_address) = typed.strip_prefix("tcp:") else {
        return Err(refuse("neither unix:PATH nor tcp:ADDRESS:PORT"));
    };
    match typed_address.to_socket_addrs().ok().and_then(|mut addresses| addresses.next()) {
        Some(address) => Ok(Address::Tcp(address)),
        None => Err(refuse("not an address with a port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_they_are_typed() {
        assert_eq!(address("unix:/a b").unwrap(), Address::Unix("/a b".into()));
        assert_eq!(address("tcp:127.0.0.1:0").unwrap(), Address::Tcp(([127, 0, 0, 1], 0).into()));
        assert_eq!(address("tcp:[::1]:10809").unwrap(), Address::Tcp("[::1]:10809".parse().unwrap()));
        for typed in ["", "unix:", "/path", "tcp:", "tcp:127.0.0.1", "tcp:127.0.0.1:99999", "udp:127.0.0.1:1"] {
            assert!(address(typed).is_err(), "{typed}");
        }
    }
}
