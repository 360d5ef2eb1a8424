//! qcow2 images that are refused: by name, with the way out, and before anything is written.

mod qemu;

use imgraft_vfs::ErrorKind::{self, Corrupt, Unsupported};
use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::image::qcow2::Qcow2;
use imgraft_vfs::image::{self, Format};
use imgraft_vfs::transaction::Overlay;
use imgraft_vfs::{Error, Result};
use qemu::text;
use std::fs;
use std::sync::Arc;

fn open(bytes: &[u8]) -> Result<Qcow2> {
    Qcow2::open(Arc::new(Overlay::new(Arc::new(MemDevice::new(bytes.to_vec())))))
}

#[track_caller]
fn refused(bytes: &[u8], kind: ErrorKind, part: &str) -> Error {
    let error = open(bytes).unwrap_err();
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(error.to_string().contains(part), "{error} does not say {part:?}");
    if kind == Unsupported {
        assert!(error.hint().is_some(), "{error:?} has no hint");
    }
    error
}

/// An image made by QEMU with these options.
fn made(options: &str, extra: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    let mut args = vec!["create", "-q", "-f", "qcow2"];
    if !options.is_empty() {
        args.extend(["-o", options]);
    }
    args.extend(extra);
    args.extend([text(&path), "8M"]);
    qemu::img(&args);
    fs::read(path).unwrap()
}

fn patched(image: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut image = image.to_vec();
    image[at..at + bytes.len()].copy_from_slice(bytes);
    image
}

#[test]
fn what_is_not_supported() {
    if !qemu::available() {
        return;
    }
    let secret = ["--object", "secret,id=s,data=abc"];
    let luks = made("encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", &secret);
    refused(&luks, Unsupported, "encrypted (LUKS)");
    refused(&made("encrypt.format=aes,encrypt.key-secret=s", &secret), Unsupported, "encrypted (AES)");

    let dir = tempfile::tempdir().unwrap();
    let [base, path, data] = ["base", "disk", "data"].map(|name| dir.path().join(name));
    qemu::img(&["create", "-q", "-f", "raw", text(&base), "8M"]);
    for compat in ["0.10", "1.1"] {
        let options = format!("compat={compat}");
        qemu::img(&["create", "-q", "-f", "qcow2", "-o", &options, "-b", text(&base), "-F", "raw", text(&path)]);
        let bytes = fs::read(&path).unwrap();
        let error = refused(&bytes, Unsupported, text(&base));
        assert!(error.hint().unwrap().contains("qemu-img convert"));
        // A name is shown, never sent to the terminal as it is.
        let at = u64::from_be_bytes(bytes[8..16].try_into().unwrap()) as usize;
        refused(&patched(&bytes, at, b"\x1b[2J\n"), Unsupported, r"\x1b[2J\n");
        refused(&patched(&bytes, 16, &1024u32.to_be_bytes()), Corrupt, "does not fit");
        refused(&patched(&bytes, 8, &(u64::MAX - 4).to_be_bytes()), Corrupt, "does not fit");
    }
    let options = format!("data_file={}", text(&data));
    qemu::img(&["create", "-q", "-f", "qcow2", "-o", &options, text(&path), "8M"]);
    refused(&fs::read(&path).unwrap(), Unsupported, text(&data));

    let plain = made("", &[]);
    // Read all the same, as QEMU does.
    let disk = open(&patched(&plain, 79, &[2])).unwrap();
    disk.read_at(&mut [0; 10], 0).unwrap();
    let error = disk.write_at(b"x", 0).unwrap_err();
    assert_eq!(error.kind(), Unsupported);
    assert!(error.to_string().contains("marked corrupt"), "{error}");
    assert!(error.hint().unwrap().contains("qemu-img check -r all"));
    refused(&patched(&plain, 79, &[0x20]), Unsupported, "unknown incompatible feature bit 5");
    refused(&patched(&plain, 35, &[7]), Unsupported, "encrypted (by method 7)");
    refused(&patched(&plain, 7, &[1]), Unsupported, "version 1");
    refused(&patched(&plain, 7, &[4]), Unsupported, "version 4");
    // The image names a bit that nobody knows.
    let names = plain.windows(4).position(|bytes| bytes == [0x68, 0x03, 0xf8, 0x57]).unwrap();
    let mut named = patched(&plain, names + 8, b"\0\x09warp drive\0");
    named[78] = 2;
    refused(&named, Unsupported, "\"warp drive\" (bit 9)");
    // Unknown compatible bits are no reason.
    open(&patched(&plain, 80, &[0xff; 8])).unwrap();
}

#[test]
fn headers_that_contradict_the_format() {
    if !qemu::available() {
        return;
    }
    let plain = made("", &[]);
    let u32s = |at: usize, value: u32| patched(&plain, at, &value.to_be_bytes());
    let u64s = |at: usize, value: u64| patched(&plain, at, &value.to_be_bytes());
    refused(&u32s(0, 0), Corrupt, "magic");
    for bits in [0, 8, 22, u32::MAX] {
        refused(&u32s(20, bits), Corrupt, "cluster_bits");
    }
    for order in [7, 64, u32::MAX] {
        refused(&u32s(96, order), Corrupt, "refcount_order");
    }
    for len in [0, 96, 105, 1 << 17, u32::MAX] {
        refused(&u32s(100, len), Corrupt, "header_length");
    }
    refused(&u64s(24, 1 << 40), Corrupt, "l1_size");
    refused(&u64s(24, u64::MAX), Corrupt, "l1_size");
    refused(&u32s(36, 0), Corrupt, "l1_size");
    refused(&u32s(36, (4 << 20) + 1), Corrupt, "L1 table takes");
    refused(&u32s(36, 4 << 20), Corrupt, "truncated");
    for (at, name) in [(40, "l1_table_offset"), (48, "refcount_table_offset")] {
        refused(&u64s(at, 0x3_0200), Corrupt, name);
        refused(&u64s(at, 0xff00_0000_0001_0000), Corrupt, name);
        refused(&u64s(at, 0), Corrupt, "lies on the header");
        refused(&u64s(at, 1 << 40), Corrupt, "truncated");
    }
    let table = u64::from_be_bytes(plain[48..56].try_into().unwrap());
    refused(&u64s(40, table), Corrupt, "lies on the refcount table");
    refused(&u32s(56, 0), Corrupt, "no refcount table");
    refused(&u32s(56, 129), Corrupt, "refcount table takes");
    refused(&u32s(56, 100), Corrupt, "");
    refused(&u32s(60, 65_537), Corrupt, "nb_snapshots");
    let one = u32s(60, 1);
    refused(&patched(&one, 64, &0x3_0001u64.to_be_bytes()), Corrupt, "snapshots_offset");
    refused(&patched(&one, 64, &(1u64 << 50).to_be_bytes()), Corrupt, "snapshot table");
    refused(&patched(&one, 64, &0u64.to_be_bytes()), Corrupt, "lies on the header");
    refused(&patched(&plain, 104, &[1]), Corrupt, "compression type 1");
    refused(&patched(&made("compression_type=zstd", &[]), 104, &[2]), Unsupported, "compression type 2");
    refused(&patched(&made("extended_l2=on", &[]), 20, &13u32.to_be_bytes()), Corrupt, "at least 14");
    refused(&patched(&plain, 79, &[8]), Corrupt, "type is 0");
    refused(&u32s(116, u32::MAX), Corrupt, "extension");
    // The L1 and refcount tables' entries.
    let l1 = u64::from_be_bytes(plain[40..48].try_into().unwrap()) as usize;
    for entry in [1u64 << 63, 1, 1 << 56, 0x5_0200] {
        refused(&patched(&plain, l1, &entry.to_be_bytes()), Corrupt, "L1 entry");
    }
    refused(&patched(&plain, l1, &(1u64 << 63 | table).to_be_bytes()), Corrupt, "L2 table lies on the refcount table");
    refused(&patched(&plain, l1, &(1u64 << 63 | 1 << 30).to_be_bytes()), Corrupt, "truncated");
    let table = table as usize;
    refused(&patched(&plain, table, &0x200u64.to_be_bytes()), Corrupt, "refcount table entry");
    refused(&patched(&plain, table, &(1u64 << 40).to_be_bytes()), Corrupt, "truncated");
    refused(&patched(&plain, table, &(l1 as u64).to_be_bytes()), Corrupt, "lies on the L1 table");
}

/// Whatever is cut off: an image with data is refused, or what it says about itself is all there.
#[test]
fn truncated_images() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    qemu::img(&["create", "-q", "-f", "qcow2", text(&path), "8M"]);
    qemu::io(&path, &["write -P 1 0 3M".to_owned()]);
    let bytes = fs::read(&path).unwrap();
    open(&bytes).unwrap();
    for len in
        [0, 3, 4, 71, 72, 103, 511, 512, 65_536, 131_072, 196_608, 262_144, bytes.len() / 2, bytes.len() - 65_536]
    {
        let error = refused(&bytes[..len], Corrupt, "");
        assert!(error.to_string().contains("truncated") || len < 112, "{len}: {error}");
    }
    // The last cluster of a sound image need not be whole.
    open(&bytes[..bytes.len() - 1]).unwrap();
}

#[test]
fn a_declared_format_is_believed() {
    if !qemu::available() {
        return;
    }
    let qcow2 = made("", &[]);
    let host = |bytes: &[u8]| Arc::new(Overlay::new(Arc::new(MemDevice::new(bytes.to_vec()))));
    assert_eq!(image::open(host(&qcow2), None).unwrap().format(), Format::Qcow2);
    let raw = image::open(host(&qcow2), Some(Format::Raw)).unwrap();
    assert_eq!((raw.format(), raw.size()), (Format::Raw, qcow2.len() as u64));
    let error = image::open(host(&[0; 4096]), Some(Format::Qcow2)).unwrap_err();
    assert_eq!(error.kind(), Corrupt);
    for format in ["qed", "vmdk", "vpc", "vhdx", "vdi", "parallels"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        if !qemu::img_accepts(&["create", "-q", "-f", format, text(&path), "8M"]) {
            continue;
        }
        let error = image::open(host(&fs::read(&path).unwrap()), None).unwrap_err();
        assert_eq!(error.kind(), Unsupported, "{format}");
        assert!(error.hint().unwrap().contains(&format!("-f {format} ")), "{error:?}");
    }
}
