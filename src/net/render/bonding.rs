//! The options of a bond by the names of the kernel's driver (Documentation/networking/bonding.rst), which two programs pass on.

use super::{Bond, Config, Inexpressible, Link};

/// The options, in the order in which the driver's documentation would have them set: the mode first.
pub(super) fn options(
    program: &'static str,
    config: &Config,
    link: &Link,
    bond: &Bond,
) -> Result<[(&'static str, Option<String>); 9], Inexpressible> {
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    let owned = |text: Option<&'static str>| text.map(str::to_owned);
    let primary = match &bond.primary {
        None => None,
        Some(primary) => {
            let device = config.link(primary).and_then(Link::device);
            let device = device.ok_or_else(|| {
                Inexpressible::new(program, link, format!("the primary member {primary:?}, whose name is not known"))
            })?;
            Some(device.to_owned())
        }
    };
    Ok([
        ("mode", owned(bond.mode)),
        ("miimon", number(bond.miimon)),
        ("updelay", number(bond.up_delay)),
        ("downdelay", number(bond.down_delay)),
        ("lacp_rate", owned(bond.lacp_rate)),
        ("xmit_hash_policy", owned(bond.xmit_hash_policy)),
        ("ad_select", owned(bond.ad_select)),
        ("min_links", number(bond.min_links)),
        ("primary", primary),
    ])
}
