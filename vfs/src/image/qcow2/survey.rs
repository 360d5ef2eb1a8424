//! What a header says that a user has to know of, whether or not the image can be opened.

use super::extension::Extensions;
use super::feature::{DAMAGED, DATA_FILE, DIRTY, Features, Set};
use super::geometry::Geometry;
use super::header::{self, SECTOR, V2_LEN, V3_LEN};
use super::layout::read_padded;
use super::mapping::Version;
use crate::block::BlockDevice;
use crate::error::Result;

/// What there is to say, each with a name for what it is about: the names of `image::inspect::Finding`. It reads one
/// cluster, and fails only where that cannot be read.
pub(in crate::image) fn survey(host: &dyn BlockDevice) -> Result<Vec<(&'static str, String)>> {
    let mut found: Vec<(&'static str, String)> = Vec::new();
    let mut sector = [0; SECTOR];
    read_padded(host, &mut sector, 0)?;
    let version = match header::u32_at(&sector, 4) {
        2 => Version::V2,
        3 => Version::V3,
        other => return Ok(vec![("version", format!("version {other} of the format"))]),
    };
    let len = if version == Version::V3 { V3_LEN } else { V2_LEN };
    if host.size() < len {
        return Ok(vec![("truncated", "the file ends inside the header".to_owned())]);
    }
    let order = if version == Version::V3 { header::u32_at(&sector, 96) } else { 4 };
    let geometry = match Geometry::new(header::u32_at(&sector, 20), order) {
        Ok(geometry) => geometry,
        Err(error) => return Ok(vec![("malformed", error.to_string())]),
    };
    let mut cluster = vec![0; geometry.cluster_len()];
    read_padded(host, &mut cluster, 0)?;
    let malformed = |error: &dyn std::fmt::Display| ("malformed", error.to_string());
    let backing = header::backing_name(&cluster).unwrap_or_else(|error| {
        found.push(malformed(&error));
        None
    });
    let area_end = backing.as_ref().map_or(geometry.cluster_size(), |(at, _)| *at);
    let extensions = header::header_len(&sector, version, geometry)
        .and_then(|start| Extensions::parse(header::slice(&cluster, start, area_end)))
        .unwrap_or_else(|error| {
            found.push(malformed(&error));
            Extensions::default()
        });
    if let Some((_, name)) = backing {
        let format = extensions.backing_format.as_ref();
        let format = format.map_or_else(|| "of no recorded format".to_owned(), |it| it.escape_ascii().to_string());
        found.push(("backing_file", format!("it lies over the file \"{}\" ({format})", name.escape_ascii())));
    }
    let method = header::u32_at(&sector, 32);
    if method != 0 {
        found.push(("encryption", format!("its data is encrypted ({})", header::encryption(method))));
    }
    // A header of version 2 has something else in the place of the feature bits.
    if version == Version::V3 {
        feature_findings(Features::parse(&sector), &extensions, &mut found);
    }
    Ok(found)
}

fn feature_findings(features: Features, extensions: &Extensions, found: &mut Vec<(&'static str, String)>) {
    if features.has(Set::Incompatible, DATA_FILE) {
        let name = extensions.data_file.as_ref();
        let name = name.map_or_else(|| "one without a name".to_owned(), |it| format!("\"{}\"", it.escape_ascii()));
        found.push(("data_file", format!("its data is in another file, {name}")));
    }
    if let Err(error) = features.refuse_unknown(&extensions.names) {
        found.push(("unknown_features", error.to_string()));
    }
    if features.has(Set::Incompatible, DIRTY) {
        found.push(("dirty", "it was not closed: its refcounts may be stale".to_owned()));
    }
    if features.has(Set::Incompatible, DAMAGED) {
        found.push(("corrupt", "it is marked corrupt".to_owned()));
    }
}
