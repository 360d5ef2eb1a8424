//! What a file is, by its marks, and what is to be known of it before it is used.
//!
//! The rules are those of OpenStack's format inspector: every mark is looked for, whatever was found already, and a file
//! that carries those of several formats is refused, because what one program takes for a disk another takes for
//! something else. Two things go together: an ISO image that is a disk too (a hybrid one) is an ISO image, and the disk
//! in a VHD of fixed size has a partition table. A file declared raw is not looked at.

#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "images come from strangers"
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing))]

mod boot;
mod field;
mod foreign;
mod mark;
#[cfg(test)]
mod tests;
mod vmdk;

pub use mark::Mark;

use super::{Format, qcow2};
use crate::block::BlockDevice;
use crate::error::{Error, Layer, Result};
use mark::WayOut;
use std::fmt;

/// Something that the user of an image has to know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about, as OpenStack's inspector names it: `backing_file`, `data_file`, `unknown_features`, `version`,
    /// `mbr`; and `other_files`, `encryption`, `dirty`, `corrupt`, `truncated`, `malformed`.
    pub name: &'static str,
    /// What it is: a clause. Names that stand in the image are escaped.
    pub text: String,
}

impl Finding {
    fn new(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, text: text.into() }
    }
}

/// What a file is, and what is to be known of it.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The format that was declared.
    pub declared: Option<Format>,
    /// Every format whose marks the file carries, and a partition table; empty where there is none, and for a file
    /// declared raw.
    pub marks: Vec<Mark>,
    /// What is to be known, of every format that was found.
    pub findings: Vec<Finding>,
}

impl fmt::Display for Inspection {
    /// The format that the file is opened as, or what it is instead; several where there is no telling.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.format(), verdict(&self.marks).as_slice()) {
            (Ok(format), _) => write!(f, "{format}"),
            (Err(_), []) => f.write_str("raw"),
            (Err(_), marks) => f.write_str(&names(marks)),
        }
    }
}

/// Looks at the first and the last bytes of `host`, and at the headers of what they announce; reads some KiB at most.
///
/// It fails where the file cannot be read, and not because of what it is: see [`format`](Inspection::format).
pub fn inspect(host: &dyn BlockDevice, declared: Option<Format>) -> Result<Inspection> {
    if declared == Some(Format::Raw) {
        return Ok(Inspection { declared, marks: Vec::new(), findings: Vec::new() });
    }
    let marks = mark::carried(host)?;
    let findings = marks.iter().map(|mark| findings(host, *mark)).collect::<Result<Vec<_>>>()?.concat();
    Ok(Inspection { declared, marks, findings })
}

impl Inspection {
    /// The format that the file can be opened as; the errors are those of [`open`](super::open).
    pub fn format(&self) -> Result<Format> {
        match self.declared {
            Some(Format::Raw) => Ok(Format::Raw),
            Some(Format::Qcow2) => as_declared(&self.marks, &self.findings),
            None => detected(&self.marks, &self.findings),
        }
    }
}

/// The format to open `host` as. A declared one is believed: a file declared raw is not looked at, and one declared
/// qcow2 need only be that among other things.
pub(super) fn format(host: &dyn BlockDevice, declared: Option<Format>) -> Result<Format> {
    match declared {
        Some(Format::Raw) => return Ok(Format::Raw),
        Some(Format::Qcow2) if mark::is_qcow2(host)? => return Ok(Format::Qcow2),
        _ => {}
    }
    let marks = mark::carried(host)?;
    if verdict(&marks).is_empty() && declared.is_none() {
        return Ok(Format::Raw);
    }
    if marks == [Mark::Qcow2] {
        return Ok(Format::Qcow2);
    }
    inspect(host, declared)?.format()
}

fn detected(marks: &[Mark], findings: &[Finding]) -> Result<Format> {
    match verdict(marks).as_slice() {
        [] => Ok(Format::Raw),
        [Mark::Qcow2] => Ok(Format::Qcow2),
        [one] => Err(refusal(*one, findings)),
        several => {
            let message = format!("the file carries the marks of several formats: {}", names(several));
            Err(Error::unsupported(Layer::Image, message)
                .with_hint("declare its format, if you know it and trust its source"))
        }
    }
}

fn as_declared(marks: &[Mark], findings: &[Finding]) -> Result<Format> {
    match verdict(marks).as_slice() {
        marks if marks.contains(&Mark::Qcow2) => Ok(Format::Qcow2),
        [] => Err(Error::corrupt(Layer::Image, "not a qcow2 image: the magic is not there")
            .with_hint("declare it raw, if its bytes are the disk")),
        [one, ..] => Err(refusal(*one, findings)),
    }
}

/// The formats among the marks that the file may be taken for; a disk with a partition table is none of its own.
fn verdict(marks: &[Mark]) -> Vec<Mark> {
    let tables = [Mark::Gpt, Mark::Mbr];
    let formats: Vec<Mark> = marks.iter().copied().filter(|mark| !tables.contains(mark)).collect();
    match formats.as_slice() {
        // What a disk may be as well, or have in it.
        [] | [Mark::Iso | Mark::FixedVhd] => formats,
        _ => marks.to_vec(),
    }
}

fn names(marks: &[Mark]) -> String {
    marks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn refusal(mark: Mark, findings: &[Finding]) -> Error {
    let hint = match mark.way_out() {
        WayOut::None => "declare its format, if you know it and trust its source".to_owned(),
        WayOut::Convert(name) => {
            let names_others = ["backing_file", "data_file", "other_files"];
            let others = findings.iter().find(|finding| names_others.contains(&finding.name));
            let care = others.map(|finding| format!(", if you trust its source: {}", finding.text)).unwrap_or_default();
            format!("convert it with `qemu-img convert -f {name} -O qcow2 IMAGE NEW.qcow2`{care}")
        }
        WayOut::Say(hint) => hint.to_owned(),
    };
    Error::unsupported(Layer::Image, format!("the image's format is {mark}, which is not supported")).with_hint(hint)
}

fn findings(host: &dyn BlockDevice, mark: Mark) -> Result<Vec<Finding>> {
    match mark {
        Mark::Qcow2 => Ok(qcow2::survey(host)?.into_iter().map(|(name, text)| Finding { name, text }).collect()),
        Mark::Vmdk => vmdk::findings(host),
        Mark::Gpt | Mark::Mbr => boot::findings(host),
        other => foreign::findings(host, other),
    }
}
