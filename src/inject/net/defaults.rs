//! Default routes of several links, of which nothing in the description says which one is taken.

use super::Outcome;
use crate::net::config::{Config, Link, Route};
use crate::net::render::{Ifup, Renderer, dhcp_metric, in_order};
use std::collections::BTreeMap;

/// A default route, with its link.
type Default<'a> = (&'a Link, Route);

/// Says so where several links have a default route with the same metric: the order in which they come up decides, or the kernel uses
/// all of them in turn; but for ifupdown those without a metric get some.
pub(super) fn tell(config: &Config, renderer: Renderer, outcome: &mut Outcome) {
    let mut found: BTreeMap<(u8, Option<u32>), Vec<Default<'_>>> = BTreeMap::new();
    let links = match renderer {
        Renderer::Ifupdown(_) => in_order(config),
        _ => config.links.iter().collect(),
    };
    for link in &links {
        for route in link.routes.iter().copied().filter(Route::is_default) {
            let version = route.to.version();
            let metric = route.metric.filter(|metric| !is_none(*metric, version, renderer));
            found.entry((version, metric)).or_default().push((link, route));
        }
    }
    let is_clients = dhcp_metric(config).is_none();
    for ((version, metric), routes) in found {
        let mut ids: Vec<&str> = routes.iter().map(|(link, _)| link.id.as_str()).collect();
        let is_ifupdown = matches!(renderer, Renderer::Ifupdown(_)) && metric.is_none();
        // A server of DHCP has one too, with what metric the client gives it where it is told none.
        let asks = |link: &&&Link| {
            version == 4 && link.dhcp4 && config.master(&link.id).is_none() && !ids.contains(&link.id.as_str())
        };
        let by_dhcp: Vec<&str> =
            links.iter().filter(asks).filter(|_| is_ifupdown && is_clients).map(|link| link.id.as_str()).collect();
        ids.extend(&by_dhcp);
        if ids.len() < 2 {
            continue;
        }
        let is_given = |(_, route): &&Default<'_>| route.metric.is_some();
        let which = match (routes.iter().find(is_given).or(routes.first()), routes.iter().filter(is_given).count()) {
            (Some((first, _)), 0 | 1) if is_ifupdown && by_dhcp.is_empty() => {
                format!("of these that of {} is taken first, as the others are given metrics", first.id)
            }
            _ => "so that nothing says which one is taken".to_owned(),
        };
        let metric = metric.map_or_else(|| "without a metric".to_owned(), |metric| format!("with the metric {metric}"));
        let dhcp = if by_dhcp.is_empty() { String::new() } else { format!(", {} by DHCP", by_dhcp.join(" and ")) };
        outcome.notes.push(format!(
            "{}: each has a default route of IPv{version} {metric}{dhcp}, {which}: give them different metrics, in a \
             description that has them (netplan, network-config)",
            ids.join(", ")
        ));
    }
}

/// Whether a metric is what the kernel, or ifupdown-ng, makes of none.
fn is_none(metric: u32, version: u8, renderer: Renderer) -> bool {
    match (version, metric) {
        (_, 0) | (6, 1024) => true,
        (4, 1) => renderer == Renderer::Ifupdown(Ifup::ByName),
        _ => false,
    }
}
