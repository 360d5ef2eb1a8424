//! Name servers for netconfig(8), from which wicked's guests have their resolv.conf.

use super::{InjectError, Outcome};
use crate::inject::variables::{assign, value};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// Where the variables are, beside many others.
const CONFIG: &str = "/etc/sysconfig/network/config";
const SERVERS: &str = "NETCONFIG_DNS_STATIC_SERVERS";
const SEARCH: &str = "NETCONFIG_DNS_STATIC_SEARCHLIST";
/// What is taken from where; where it is empty, netconfig leaves resolv.conf alone.
const POLICY: &str = "NETCONFIG_DNS_POLICY";

/// Gives the variables the name servers and the domains, which go before those of DHCP. Without any the file stays as it is.
pub(super) fn stage(
    servers: &[String],
    search: &[&str],
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    let path = GuestPath::parse(CONFIG)?;
    if servers.is_empty() && search.is_empty() {
        for key in [SERVERS, SEARCH] {
            if value(&path, key, stage)?.is_some_and(|value| !value.is_empty()) {
                outcome.notes.push(format!("{path}: not changed, it has a {key}, which goes before what DHCP says"));
            }
        }
        return Ok(());
    }
    assign(&path, SERVERS, &servers.join(" "), stage)?;
    assign(&path, SEARCH, &search.join(" "), stage)?;
    outcome.notes.push(format!("{path}: the name servers, which netconfig takes from there"));
    if value(&path, POLICY, stage)?.is_none_or(|policy| policy.is_empty()) {
        assign(&path, POLICY, "auto", stage)?;
        outcome.notes.push(format!("{path}: {POLICY} was empty, by which netconfig would leave resolv.conf alone"));
    }
    Ok(())
}
