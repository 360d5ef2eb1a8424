//! The devices that an interfaces(5) is about, as NetworkManager's plugin for it has them.

use super::{FILES_MAX, LIMIT, Reader, glob};
use crate::net::render::HEAD;
use imgraft_vfs::Result;
use std::collections::{BTreeMap, BTreeSet};

const PATH: &str = "/etc/network/interfaces";
/// The most that is read of all files together, in bytes; one that is beyond it counts as missing.
const BYTES_MAX: u64 = 1024 * 1024;
/// The most devices that are looked at, and the most words that say what is included.
const NAMES_MAX: usize = 1024;
const SOURCES_MAX: usize = 256;

/// Each device beside the loopback device, and the file that has it (`nms-ifupdown-plugin.c` of NetworkManager): of bridges, those that
/// are called so, it has the ports.
pub(super) fn names(reader: &Reader<'_>) -> Result<BTreeMap<String, String>> {
    let mut names = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut waiting = vec![PATH.to_owned()];
    let (mut bytes, mut sources) = (BYTES_MAX, SOURCES_MAX);
    while let Some(path) = waiting.pop() {
        if seen.len() >= FILES_MAX || !seen.insert(path.clone()) {
            continue;
        }
        let Some(text) = reader.file_lenient(&path, LIMIT.min(bytes))? else { continue };
        bytes = bytes.saturating_sub(u64::try_from(text.len()).unwrap_or(u64::MAX));
        let text = String::from_utf8_lossy(&text).replace("\\\n", "");
        if path == PATH && text.starts_with(HEAD) {
            // What an earlier run made: the next one leaves only the loopback device of it.
            continue;
        }
        let mut is_bridge = false;
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let found = match words[..] {
                ["iface", name, _, _, ..] => {
                    is_bridge = name.starts_with("br");
                    if is_bridge || name == "lo" { Vec::new() } else { vec![name.to_owned()] }
                }
                ["bridge_ports" | "bridge-ports", ref ports @ ..] if is_bridge => {
                    // What follows `regex` are no names.
                    let ports = ports.iter().take_while(|port| **port != "regex");
                    ports.filter(|port| !["all", "none"].contains(port)).map(|port| (*port).to_owned()).collect()
                }
                ["mapping", ref patterns @ ..] => {
                    is_bridge = false;
                    vec![patterns.join(" ")]
                }
                [include @ ("source" | "source-directory"), ref words @ ..] => {
                    for word in words.iter().take(sources) {
                        sources = sources.saturating_sub(1);
                        let word = match word.starts_with('/') {
                            true => (*word).to_owned(),
                            false => format!("{}/{word}", path.rsplit_once('/').map_or("", |(directory, _)| directory)),
                        };
                        waiting.extend(if include == "source" {
                            named(&word, reader)?
                        } else {
                            within(&word, "*", reader)?
                        });
                    }
                    Vec::new()
                }
                _ => Vec::new(),
            };
            for name in found {
                if names.len() < NAMES_MAX {
                    names.entry(name).or_insert_with(|| path.clone());
                }
            }
        }
    }
    Ok(names)
}

/// The files of a name that may be a pattern in its last part.
fn named(word: &str, reader: &Reader<'_>) -> Result<Vec<String>> {
    match word.rsplit_once('/') {
        Some((directory, pattern)) if pattern.contains(['*', '?']) => within(directory, pattern, reader),
        _ => Ok(vec![word.to_owned()]),
    }
}

/// The files of a directory that match a pattern.
fn within(directory: &str, pattern: &str, reader: &Reader<'_>) -> Result<Vec<String>> {
    let names = reader.names(directory)?.into_iter().take(FILES_MAX);
    let names = names.filter(|name| !name.starts_with('.') && glob(pattern.as_bytes(), name.as_bytes()));
    Ok(names.map(|name| format!("{directory}/{name}")).collect())
}
