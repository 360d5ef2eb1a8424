//! Inspects a hostile file: it always ends in a report, whose verdict is what opening the file comes to.
//!
//! An input is the file itself, as `inspect_seeds.py` makes some.

#![no_main]

use imgraft_vfs::block::MemDevice;
use imgraft_vfs::image::inspect::{Mark, inspect};
use imgraft_vfs::image::{self, Format};
use imgraft_vfs::transaction::Overlay;
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

fuzz_target!(|bytes: &[u8]| {
    for declared in [None, Some(Format::Raw), Some(Format::Qcow2)] {
        let device = MemDevice::new(bytes.to_vec());
        let inspection = inspect(&device, declared).expect("memory can be read");
        assert!(inspection.findings.iter().all(|finding| !finding.text.contains('\u{1b}')), "a name drives the terminal");
        let host = Arc::new(Overlay::new(Arc::new(device)));
        match (inspection.format(), image::open(host, declared)) {
            (Ok(format), Ok(disk)) => assert_eq!(format, disk.format()),
            // A header may be damaged.
            (Ok(Format::Qcow2), Err(_)) => assert!(inspection.marks.contains(&Mark::Qcow2)),
            (Err(told), Err(error)) => assert_eq!((told.kind(), told.hint()), (error.kind(), error.hint())),
            (told, _) => panic!("{told:?}: the file is opened as something else"),
        }
    }
});
