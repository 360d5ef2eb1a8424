//! Default routes of several links, of which nothing in the description says which one is taken.

use super::Outcome;
use crate::net::config::Config;
use crate::net::render::Renderer;
use std::collections::BTreeMap;

/// Says so where several links have a default route with the same metric: the order in which they come up decides, or the kernel uses
/// all of them in turn; but for ifupdown those without a metric get some.
pub(super) fn tell(config: &Config, renderer: Renderer, outcome: &mut Outcome) {
    let mut found: BTreeMap<(u8, Option<u32>), Vec<&str>> = BTreeMap::new();
    for link in &config.links {
        for route in link.routes.iter().filter(|route| route.is_default()) {
            found.entry((route.to.version(), route.metric)).or_default().push(&link.id);
        }
    }
    for ((version, metric), links) in found.into_iter().filter(|(_, links)| links.len() > 1) {
        let which = match (renderer, metric, links.first()) {
            (Renderer::Ifupdown(_), None, Some(first)) => {
                format!("of these that of {first} is taken first, as the others are given metrics")
            }
            _ => "so that nothing says which one is taken".to_owned(),
        };
        let metric = metric.map_or_else(|| "without a metric".to_owned(), |metric| format!("with the metric {metric}"));
        outcome.notes.push(format!(
            "{}: each has a default route of IPv{version} {metric}, {which}: give them different metrics, in a \
             description that has them (netplan, network-config)",
            links.join(", ")
        ));
    }
}
