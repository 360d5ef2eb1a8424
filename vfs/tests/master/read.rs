//! What we read of our own images, and of those of genisoimage, xorriso, mkfs.vfat and mcopy.

use super::ecma119::{self, Order};
use super::iso9660::{joliet_keeps, lossy, options as iso_options};
use super::oracle::{FileDevice, Scratch, have, path_with_sbin, run};
use super::sample::{self, TIME};
use super::seen::{self, Fact, Seen};
use super::vfat::options as fat_options;
use imgraft_vfs::fs::{FileType, Timestamp};
use imgraft_vfs::master::{self, Drive, DriveFormat, Tree, View, iso9660, vfat};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// What is read, with modes where there are any.
fn seen(drive: &Drive) -> Seen {
    let mut seen = Seen::new();
    for entry in drive.entries() {
        let kind = match entry.file_type {
            FileType::Directory => 0o040_000,
            FileType::Symlink => 0o120_000,
            _ => 0o100_000,
        };
        let mut sum = 0;
        let mut buf = vec![0; 1 << 20];
        let mut at = 0;
        while at < entry.size {
            let take = (entry.size - at).min(1 << 20) as usize;
            drive.read_at(entry, &mut buf[..take], at).unwrap();
            sum = crc32c::crc32c_append(sum, &buf[..take]);
            at += take as u64;
        }
        let mode = kind | entry.attrs.map_or(0, |attrs| u32::from(attrs.mode));
        seen.insert(entry.path.clone(), Fact { mode, size: entry.size, sum });
    }
    seen
}

fn open(path: &Path, view: View) -> Drive {
    Drive::open(Arc::new(FileDevice::open(path)), view).unwrap()
}

/// An image that is laid out and nowhere written.
fn planned(image: master::Image, view: View) -> Drive {
    Drive::open(Arc::new(image), view).unwrap()
}

#[test]
fn our_own_images() {
    let scratch = Scratch::new();
    let trees = [
        ("drive", sample::drive()),
        ("names", sample::names()),
        ("many", sample::many()),
        ("large", sample::large(&scratch.path("large"))),
        ("empty", Tree::new()),
    ];
    for (name, tree) in trees.iter().chain(&[("awkward", sample::awkward())]) {
        let ours = seen::of_tree(tree);
        let image = |view| planned(iso9660::image(tree, &iso_options()).unwrap(), view);
        let best = image(View::Best);
        assert_eq!(best.about().view, "Rock Ridge");
        assert_eq!((best.about().format, &*best.about().label), (DriveFormat::Iso9660, "config-2"));
        assert_eq!(best.about().publisher.as_deref(), Some("IMGRAFT 1.0"));
        let time = Some(Timestamp { seconds: TIME, nanoseconds: 0 });
        assert!(best.entries().iter().all(|entry| entry.mtime == time));
        seen::assert_same(&ours, &seen(&best), name);
        let plain = seen::without_modes(&ours);
        lossy(&plain, &seen(&image(View::Joliet)), joliet_keeps, name);
        lossy(&plain, &seen(&image(View::Plain)), |_| false, name);
    }
    for (name, tree) in &trees {
        let plain = seen::without_modes(&seen::of_tree(tree));
        for (size, view) in [(128 << 20, "FAT16"), (600 << 20, "FAT32"), (4 << 20, "FAT12")] {
            if view == "FAT12" && *name != "drive" {
                continue;
            }
            let drive = planned(vfat::image(tree, &fat_options(size)).unwrap(), View::Best);
            assert_eq!((drive.about().view, &*drive.about().label), (view, "config-2"));
            assert_eq!(drive.about().boot_label.as_deref(), Some("config-2"));
            let time = Some(Timestamp { seconds: TIME, nanoseconds: 0 });
            assert!(drive.entries().iter().all(|entry| entry.mtime == time));
            seen::assert_same(&plain, &seen(&drive), &format!("{name}, {view}"));
        }
    }
}

#[test]
fn images_of_genisoimage_and_xorriso() {
    let scratch = Scratch::new();
    let trees = [("drive", sample::drive()), ("many", sample::many()), ("random", sample::random(3))];
    let nova = [
        "-ldots",
        "-allow-lowercase",
        "-allow-multidot",
        "-l",
        "-publisher",
        "IMGRAFT 1.0",
        "-quiet",
        "-J",
        "-r",
        "-V",
        "config-2",
    ];
    for (program, first) in [("genisoimage", &[][..]), ("xorriso", &["-as", "mkisofs"])] {
        if !have(&[program]) {
            continue;
        }
        for (name, tree) in &trees {
            let root = scratch.path(&format!("{program} {name}"));
            seen::spread(tree, &root);
            for deep in [&[][..], &["-D"]] {
                let image = scratch.path("drive.iso");
                let mut command = Command::new(program);
                run(command.args(first).args(nova).args(deep).arg("-o").arg(&image).arg(&root));
                let context = format!("{name} by {program} {deep:?}");
                // The judge is judged too.
                if program == "genisoimage" && *name == "drive" {
                    ecma119::check(&seen::bytes(&image), Order::Any);
                }
                let theirs = open(&image, View::Best);
                let ours = planned(iso9660::image(tree, &iso_options()).unwrap(), View::Best);
                assert_eq!(theirs.about(), ours.about(), "{context}");
                let mut found = seen(&theirs);
                // Where it has moved deep directories from, which Linux shows too.
                found.remove(&b"rr_moved"[..]);
                seen::assert_same(&seen(&ours), &found, &context);
                // xorriso leaves long paths out of its Joliet tree.
                if *name == "drive" || program == "genisoimage" {
                    lossy(&seen(&ours), &seen(&open(&image, View::Joliet)), joliet_keeps, &context);
                }
                if *name == "drive" && program == "genisoimage" {
                    // The same names in every tree.
                    for view in [View::Joliet, View::Plain] {
                        let ours = planned(iso9660::image(tree, &iso_options()).unwrap(), view);
                        seen::assert_same(&seen(&ours), &seen(&open(&image, view)), &format!("{context} {view:?}"));
                    }
                }
            }
        }
    }
}

#[test]
fn symbolic_links_of_genisoimage() {
    if !have(&["genisoimage"]) {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.path("tree");
    std::fs::create_dir(&root).unwrap();
    let long = format!("{}/../end", "long component ".repeat(15));
    // It cuts those that are longer than this.
    let targets = ["a", "/", "/etc/passwd", "../../x/./y", &long];
    for (number, target) in targets.iter().enumerate() {
        std::os::unix::fs::symlink(target, root.join(number.to_string())).unwrap();
    }
    let image = scratch.path("drive.iso");
    run(Command::new("genisoimage").args(["-quiet", "-R", "-o"]).arg(&image).arg(&root));
    let drive = open(&image, View::Best);
    for (number, target) in targets.iter().enumerate() {
        let entry = drive.find(number.to_string()).unwrap();
        assert_eq!(entry.file_type, FileType::Symlink);
        assert_eq!(entry.target.as_ref().unwrap().escape_ascii().to_string(), **target);
    }
}

#[test]
fn images_of_mkfs_and_mcopy() {
    if !have(&["mkfs.vfat", "mcopy"]) {
        return;
    }
    let scratch = Scratch::new();
    for (number, (mebibytes, kind)) in [(8, "12"), (64, "16"), (64, "32"), (300, "32")].into_iter().enumerate() {
        for (name, tree) in [("drive", sample::drive()), ("random", sample::random(number as u64))] {
            let root = scratch.path(&format!("{name} {number}"));
            seen::spread(&tree, &root);
            let image = scratch.path("drive.img");
            std::fs::File::create(&image).unwrap().set_len(mebibytes << 20).unwrap();
            let mut mkfs = Command::new("mkfs.vfat");
            run(mkfs.env("PATH", path_with_sbin()).args(["-F", kind, "-n", "config-2"]).arg(&image));
            for entry in std::fs::read_dir(&root).unwrap() {
                let mut mcopy = Command::new("mcopy");
                run(mcopy.env("LC_ALL", "C.UTF-8").args(["-s", "-i"]).arg(&image).arg(entry.unwrap().path()).arg("::"));
            }
            let drive = open(&image, View::Best);
            let plain = seen::without_modes(&seen::of_tree(&tree));
            assert_eq!(drive.about().view, format!("FAT{kind}"));
            assert_eq!((&*drive.about().label, drive.about().boot_label.as_deref()), ("config-2", Some("config-2")));
            seen::assert_same(&plain, &seen(&drive), &format!("{name} FAT{kind}"));
        }
    }
}
