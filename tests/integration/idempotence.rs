//! The same run again changes nothing; the same run on the same image gives the same bytes.

use crate::support::{FiveItems, Scratch, expect, image, imgraft, oracle};

#[test]
fn a_second_run_leaves_every_byte_alone() {
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    for (from, name) in [(image::phony(), "disk.qcow2"), (raw_phony(&scratch), "disk.raw")] {
        let copy = scratch.copy(&from, name);
        expect(0, &items.on(&copy, &[]));
        let after_first = oracle::sha256(&copy);
        let modified = copy.metadata().expect("it is there").modified().expect("a time");
        let report = expect(0, &items.on(&copy, &["--json"]));
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        assert_eq!(report["changed"], false, "{report}");
        assert_eq!(report["io"]["blocks_written"], 0);
        assert_eq!(report["io"]["fsyncs"], 0);
        for item in report["items"].as_array().expect("items") {
            assert_eq!(item["status"], "unchanged", "{item}");
        }
        assert_eq!(oracle::sha256(&copy), after_first);
        assert_eq!(copy.metadata().expect("it is there").modified().expect("a time"), modified);
    }
}

#[test]
fn source_date_epoch_makes_runs_reproducible() {
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    let digests: Vec<String> = ["one.qcow2", "two.qcow2"]
        .into_iter()
        .map(|name| {
            let copy = scratch.copy(&image::phony(), name);
            let status =
                imgraft().env("SOURCE_DATE_EPOCH", "1700000000").args(items.on(&copy, &["-q"])).status().expect("runs");
            assert!(status.success());
            std::thread::sleep(std::time::Duration::from_millis(1100));
            oracle::sha256(&copy)
        })
        .collect();
    assert_eq!(digests[0], digests[1]);
}

/// The phony guest as a raw image, made by our own library so that no oracle is needed.
pub fn raw_phony(scratch: &Scratch) -> std::path::PathBuf {
    use imgraft_vfs::image::{self as format, Format};
    use imgraft_vfs::transaction::{Access, Transaction};
    let txn = Transaction::begin(&image::phony(), Access::Read).expect("the phony guest");
    let disk = format::open(txn.overlay(), Some(Format::Qcow2)).expect("it is qcow2");
    let mut bytes = vec![0; usize::try_from(disk.size()).expect("it is small")];
    disk.read_at(&mut bytes, 0).expect("it can be read");
    scratch.file("phony.raw", bytes)
}
