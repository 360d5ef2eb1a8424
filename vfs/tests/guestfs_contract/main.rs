//! What every guest filesystem owes to its users: one list of cases, run over every driver.
//!
//! A driver takes part by one line at the end of this file and a function that gives an empty filesystem
//! ([`ground::Made`]): what it was made with, and how it is judged afterwards (closed, checked by the tools of others,
//! opened again).

mod attrs;
mod content;
mod ext4;
mod fat;
mod ground;
mod mounted;
mod names;
mod nbd;
mod refusal;
mod remote;
mod rename;
mod uml;

#[path = "../uml/mod.rs"]
mod machine;
#[path = "../oracle/mod.rs"]
mod oracle;

use ground::{DirectoryLinks, Ground, Made};

/// Every case as a test of its own over a driver, one that is run elsewhere where `ignore` says so.
macro_rules! contract {
    ($driver:ident: $make:expr) => {
        contract! { $driver: $make, cfg(test) }
    };
    ($driver:ident: $make:expr, $when:meta) => {
        contract! { $driver: $make, $when;
            attrs: modes_and_owners, each_attribute_alone, times, xattrs_come_and_go, xattrs_of_every_type,
                xattr_values_of_many_sizes, a_new_file_inherits_no_xattr;
            content: put_gives_the_content, put_keeps_what_is_not_content, append_adds, truncate_cuts_and_lengthens,
                what_was_cut_does_not_come_back, a_large_file_in_pieces, read_at_any_offset, many_sizes;
            names: files_are_made, directories_are_made, symlinks_of_every_length, devices_pipes_and_sockets,
                hard_links_share_one_file,
                removing_takes_one_name, names_are_bytes, thousands_of_entries, hundreds_of_directories,
                deep_directories, looking_up;
            refusal: reading, making, changing, removing, linking, renaming;
            rename: to_a_free_name, over_another_file, two_names_of_one_file, over_one_of_two_names, a_symlink_itself,
                a_directory_between_directories, a_directory_over_an_empty_one, keeps_everything, many_there_and_back;
        }
    };
    // What FAT can do: no owners, modes, links and extended attributes, and names that are not bytes.
    (fat $driver:ident: $make:expr) => {
        contract! { $driver: $make, cfg(test);
            content: put_gives_the_content, append_adds, truncate_cuts_and_lengthens, what_was_cut_does_not_come_back,
                a_large_file_in_pieces, read_at_any_offset, many_sizes;
            names: thousands_of_entries, hundreds_of_directories, deep_directories;
            refusal: reading, making, changing, removing, linking, renaming;
            rename: a_directory_between_directories, a_directory_over_an_empty_one, many_there_and_back;
        }
    };
    ($driver:ident: $make:expr, $when:meta; $($room:ident: $($case:ident),*;)*) => {
        mod $driver {
            contract! { @rooms $make, $when; $($room: [$($case),*])* }
        }
    };
    (@rooms $make:expr, $when:meta; $($room:ident: $cases:tt)*) => {
        $(mod $room {
            contract! { @cases $room, $make, $when; $cases }
        })*
    };
    (@cases $room:ident, $make:expr, $when:meta; [$($case:ident),*]) => {
        $(#[test] #[$when] fn $case() {
            crate::$room::$case(&crate::Ground::new($make));
        })*
    };
}

/// How the process that has a volume mounted is started.
const WORKER: [&str; 3] = ["--ignored", "--exact", "worker"];

#[test]
#[ignore = "the process that has a volume mounted"]
fn worker() {
    imgraft_vfs::kernel::host::serve_if_worker(&WORKER);
}

#[test]
#[ignore = "the first process of a borrowed kernel"]
fn first_process() {
    imgraft_vfs::kernel::uml::serve_if_first_process();
}

fn mem() -> Option<Made> {
    let fs = Box::new(imgraft_vfs::fs::mem::MemFs::new());
    Some(Made { fs, judge: Box::new(|fs| fs), links: DirectoryLinks::Counted })
}

/// A tree in which something is mounted, of which no case knows.
fn tree() -> Option<Made> {
    use imgraft_vfs::fs::tree::{Mount, Refused, Takes, Tree};
    use imgraft_vfs::{Error, ErrorKind, Layer};
    let error = Error::new(ErrorKind::NotFound, Layer::Volume, "nobody needs it");
    let path = imgraft_vfs::path::GuestPath::parse("/no/such/place").expect("a path");
    let source = Box::new(Refused(error));
    let mount = Mount { path, origin: "a test".into(), source, takes: Takes::NewDirectory };
    let fs = Tree::new(Box::new(imgraft_vfs::fs::mem::MemFs::new()), vec![mount]).expect("a tree");
    Some(Made { fs: Box::new(fs), judge: Box::new(|fs| fs), links: DirectoryLinks::Counted })
}

contract! { mem: crate::mem }
contract! { tree_of_mem: crate::tree }
contract! { remote_mem: crate::remote::mem }
contract! { ext4_default: crate::ext4::default }
contract! { ext4_small_blocks: crate::ext4::small_blocks }
contract! { ext4_without_checksums: crate::ext4::without_checksums }
contract! { ext4_ungrouped: crate::ext4::ungrouped }
contract! { fat fat12: crate::fat::fat12 }
contract! { fat fat16: crate::fat::fat16 }
contract! { fat fat32: crate::fat::fat32 }
contract! { fuse_ext4: || crate::mounted::by_fuse(&crate::mounted::EXT4) }
contract! { fuse_xfs: || crate::mounted::by_fuse(&crate::mounted::XFS) }
contract! { fuse_btrfs: || crate::mounted::by_fuse(&crate::mounted::BTRFS) }
contract! { uml_ext4: || crate::uml::made(&crate::mounted::EXT4) }
contract! { uml_xfs: || crate::uml::made(&crate::mounted::XFS) }
contract! { uml_btrfs: || crate::uml::made(&crate::mounted::BTRFS) }
contract! { nbd_ext4: || crate::nbd::made(&crate::mounted::EXT4), ignore = "in a machine with network block devices: nbd::contract" }
contract! { nbd_xfs: || crate::nbd::made(&crate::mounted::XFS), ignore = "in a machine with network block devices: nbd::contract" }
contract! { nbd_btrfs: || crate::nbd::made(&crate::mounted::BTRFS), ignore = "in a machine with network block devices: nbd::contract" }
