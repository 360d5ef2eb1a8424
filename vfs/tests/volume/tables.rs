//! Tables that sfdisk(8), sgdisk(8), fdisk(8) and parted(8) made, read as they list them.

use crate::oracle::{Image, have, run};
use imgraft_vfs::volume::{Scheme, Table, list};

const MIB: u64 = 1 << 20;

/// A partition as a tool lists it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Listed {
    number: u32,
    start: u64,
    size: u64,
    part_type: String,
    part_label: String,
    part_uuid: String,
}

fn listed(table: &Table) -> Vec<Listed> {
    let volumes = table.volumes.iter();
    volumes
        .map(|volume| Listed {
            number: volume.index.unwrap().get(),
            start: volume.start,
            size: volume.size,
            part_type: volume.part_type.clone(),
            part_label: volume.part_label.clone(),
            part_uuid: volume.part_uuid.clone(),
        })
        .collect()
}

/// What `sfdisk --dump` says of an image with sectors of 512 bytes; containers of logical partitions are left out.
fn dumped(image: &Image) -> Vec<Listed> {
    let dump = run("sfdisk", &["--dump", image.name()], "");
    let disk_id = dump.lines().find_map(|line| line.strip_prefix("label-id: 0x")).map(str::to_owned);
    let mut partitions = Vec::new();
    for line in dump.lines().filter_map(|line| line.strip_prefix(image.name())) {
        let (number, rest) = line.split_once(" : ").unwrap();
        let number: u32 = number.trim().parse().unwrap();
        let field = |name: &str| {
            let found = rest.split(", ").find_map(|field| field.trim().strip_prefix(&format!("{name}=")));
            found.map_or_else(String::new, |value| value.trim().trim_matches('"').to_lowercase())
        };
        let part_type = format!("{:0>2}", field("type"));
        if ["05", "0f", "85"].contains(&part_type.as_str()) {
            continue;
        }
        partitions.push(Listed {
            number,
            start: field("start").parse::<u64>().unwrap() * 512,
            size: field("size").parse::<u64>().unwrap() * 512,
            part_type,
            part_label: unescaped(&field("name")),
            part_uuid: disk_id.as_ref().map_or_else(|| field("uuid"), |id| format!("{id}-{number:02x}")),
        });
    }
    partitions.sort();
    partitions
}

/// sfdisk writes every byte that is not ASCII as `\xNN`.
fn unescaped(text: &str) -> String {
    let mut pieces = text.split("\\x");
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).unwrap());
        bytes.extend(piece[2..].bytes());
    }
    String::from_utf8(bytes).unwrap()
}

fn gpt_image() -> Image {
    let image = Image::new(64 * MIB);
    // As cloud images have it: the root first, the small ones numbered from 14.
    run(
        "sgdisk",
        &[
            "-n14:2048:+4M",
            "-t14:ef02",
            "-n15:0:+8M",
            "-t15:ef00",
            "-c15:esp boot",
            "-n1:0:0",
            "-c1:r\u{f6}\u{f6}t",
            image.name(),
        ],
        "",
    );
    image
}

#[test]
fn gpt_of_512_byte_sectors() {
    if !have(&["sgdisk", "sfdisk"]) {
        return;
    }
    let image = gpt_image();
    let table = list(&image.disk()).unwrap();
    assert_eq!((table.scheme, table.sector_size), (Scheme::Gpt, 512));
    assert_eq!(listed(&table), dumped(&image));
    assert_eq!(table.volumes.len(), 3);
    assert_eq!(table.notes, Vec::<String>::new());
}

#[test]
fn gpt_by_parted_and_sfdisk() {
    if !have(&["parted", "sfdisk"]) {
        return;
    }
    let image = Image::new(64 * MIB);
    run(
        "parted",
        &["-s", image.name(), "mklabel", "gpt", "mkpart", "one", "1MiB", "9MiB", "mkpart", "two", "9MiB", "100%"],
        "",
    );
    assert_eq!(listed(&list(&image.disk()).unwrap()), dumped(&image));

    let image = Image::new(64 * MIB);
    run("sfdisk", &[image.name()], "label: gpt\ntable-length: 56\nsize=8M, name=\"a\"\nsize=8M, type=U\n");
    let table = list(&image.disk()).unwrap();
    assert_eq!(listed(&table), dumped(&image));
    assert_eq!(table.volumes.len(), 2);
}

#[test]
fn gpt_of_4096_byte_sectors() {
    if !have(&["fdisk"]) {
        return;
    }
    let image = Image::new(64 * MIB);
    run("fdisk", &["-b", "4096", "-w", "always", image.name()], "g\nn\n1\n\n+8M\nn\n2\n\n\nw\n");
    let wanted = run("fdisk", &["-b", "4096", "-l", "-o", "Start,Sectors,UUID", image.name()], "");
    let wanted: Vec<String> = wanted
        .lines()
        .filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase())
        .collect();
    let check = || {
        let table = list(&image.disk()).unwrap();
        assert_eq!((table.scheme, table.sector_size), (Scheme::Gpt, 4096));
        let found = table.volumes.iter();
        let found: Vec<String> = found
            .map(|volume| format!("{} {} {}", volume.start / 4096, volume.size / 4096, volume.part_uuid))
            .collect();
        assert_eq!(found, wanted);
        assert_eq!(found.len(), 2);
        table.notes
    };
    assert!(check().is_empty());
    image.write(&[0; 4096], 4096);
    assert_eq!(check(), ["the primary GPT is damaged (no header); its backup is used"]);
}

#[test]
fn gpt_whose_primary_is_damaged() {
    if !have(&["sgdisk", "sfdisk"]) {
        return;
    }
    let image = gpt_image();
    let wanted = dumped(&image);
    image.write(&[0; 33 * 512], 512);
    let table = list(&image.disk()).unwrap();
    assert_eq!(listed(&table), wanted);
    assert_eq!(table.notes, ["the primary GPT is damaged (no header); its backup is used"]);

    // Grown as well: only the protective MBR knows where the backup was.
    image.resize(100 * MIB);
    assert_eq!(listed(&list(&image.disk()).unwrap()), wanted);
}

#[test]
fn gpt_of_a_grown_image() {
    if !have(&["sgdisk", "sfdisk"]) {
        return;
    }
    let image = gpt_image();
    let wanted = dumped(&image);
    image.resize(100 * MIB);
    let table = list(&image.disk()).unwrap();
    assert_eq!(listed(&table), wanted);
    assert_eq!(table.notes, ["the disk is larger than its GPT knows"]);

    // An entry array that is damaged under a sound header: its alternate is where the end was.
    image.write(&[0xff; 16], 2 * 512 + 5 * 128);
    let table = list(&image.disk()).unwrap();
    assert_eq!(listed(&table), wanted);
    assert_eq!(table.notes, ["the primary GPT is damaged (the checksum of its entries is wrong); its backup is used"]);
}

#[test]
fn mbr_with_logical_partitions() {
    if !have(&["sfdisk"]) {
        return;
    }
    let image = Image::new(64 * MIB);
    let script = "label: dos\nlabel-id: 0x1234abcd\nsize=8M, type=83, bootable\nsize=4M, type=82\ntype=5\nsize=8M, type=83\n\
                  size=8M, type=8e\nsize=8M, type=b\n";
    run("sfdisk", &[image.name()], script);
    let table = list(&image.disk()).unwrap();
    assert_eq!((table.scheme, table.sector_size), (Scheme::Mbr, 512));
    assert_eq!(listed(&table), dumped(&image));
    let numbers: Vec<u32> = table.volumes.iter().filter_map(|volume| volume.index).map(|index| index.get()).collect();
    assert_eq!(numbers, [1, 2, 5, 6, 7]);
    assert_eq!(table.volumes[2].part_uuid, "1234abcd-05");
}

#[test]
fn mbr_by_parted() {
    if !have(&["parted", "sfdisk"]) {
        return;
    }
    let image = Image::new(64 * MIB);
    let mut words = vec!["-s", image.name(), "mklabel", "msdos", "mkpart", "extended", "1MiB", "40MiB"];
    for (from, to) in [("2MiB", "9MiB"), ("10MiB", "19MiB"), ("20MiB", "30MiB")] {
        words.extend(["mkpart", "logical", from, to]);
    }
    words.extend(["mkpart", "primary", "41MiB", "60MiB"]);
    run("parted", &words, "");
    let table = list(&image.disk()).unwrap();
    assert_eq!(listed(&table), dumped(&image));
    assert_eq!(table.volumes.len(), 4);
}

#[test]
fn mbr_of_4096_byte_sectors() {
    if !have(&["fdisk", "mke2fs"]) {
        return;
    }
    let image = Image::new(64 * MIB);
    run("fdisk", &["-b", "4096", "-w", "always", image.name()], "o\nn\np\n1\n\n+8M\nn\np\n2\n\n\nw\n");
    let part = Image::new(8 * MIB);
    run("mke2fs", &["-q", "-t", "ext4", part.name()], "");
    image.insert(&part, MIB);
    let table = list(&image.disk()).unwrap();
    assert_eq!((table.scheme, table.sector_size, table.volumes.len()), (Scheme::Mbr, 4096, 2));
    assert_eq!((table.volumes[0].start, table.volumes[0].size), (MIB, 8 * MIB));
    assert_eq!(table.volumes[0].signature.as_ref().unwrap().name, "ext4");
}

#[test]
fn an_empty_table_has_no_volumes() {
    if !have(&["sfdisk"]) {
        return;
    }
    for (label, scheme) in [("label: dos\n", Scheme::Mbr), ("label: gpt\n", Scheme::Gpt)] {
        let image = Image::new(16 * MIB);
        run("sfdisk", &[image.name()], label);
        let table = list(&image.disk()).unwrap();
        assert_eq!((table.scheme, table.volumes.len()), (scheme, 0));
    }
}

#[test]
fn gpt_with_a_hybrid_mbr() {
    if !have(&["sgdisk", "sfdisk"]) {
        return;
    }
    let image = gpt_image();
    let wanted = dumped(&image);
    run("sgdisk", &["-h", "1:15", image.name()], "");
    let table = list(&image.disk()).unwrap();
    assert_eq!((table.scheme, listed(&table)), (Scheme::Gpt, wanted));
    assert_eq!(table.notes, ["the MBR beside the GPT has partitions too; the GPT is used"]);
}

/// A disklabel has its magic twice in its sector.
fn disklabel() -> [u8; 512] {
    let mut label = [0; 512];
    for place in [0, 132] {
        label[place..place + 4].copy_from_slice(&0x8256_4557_u32.to_le_bytes());
    }
    label
}

#[test]
fn bsd_disklabels_are_refused_by_name() {
    if !have(&["sfdisk", "mke2fs"]) {
        return;
    }
    let image = Image::new(64 * MIB);
    run("sfdisk", &[image.name()], "label: dos\nsize=16M, type=a5\nsize=16M, type=83\nsize=8M, type=a6\n");
    image.write(&disklabel(), MIB + 512);
    let part = Image::new(16 * MIB);
    run("mke2fs", &["-q", "-t", "ext4", part.name()], "");
    image.insert(&part, 17 * MIB);
    let table = list(&image.disk()).unwrap();
    let problems: Vec<_> =
        table.volumes.iter().map(|volume| volume.problem.as_ref().map(ToString::to_string)).collect();
    let told = "partition 1 has a BSD disklabel, whose partitions are not read".to_owned();
    assert_eq!(problems, [Some(told), None, None]);
    assert_eq!(table.volumes[1].signature.as_ref().unwrap().name, "ext4");

    let image = Image::new(16 * MIB);
    image.write(&disklabel(), 512);
    let error = list(&image.disk()).unwrap_err();
    assert_eq!(error.kind(), imgraft_vfs::ErrorKind::Unsupported);
    assert_eq!(error.to_string(), "the disk has a BSD disklabel, whose partitions are not read");
}
