//! Guests booted under User Mode Linux, and talked to at their consoles.

use super::drive::python;
use super::image::{self, Image};
use super::{Scratch, root, text, tree};
use serde_json::json;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What asks the processor which registers it has: the dynamic linker for all of glibc, and cryptography for itself.
const ASKING: [&str; 3] = ["ld-linux-x86-64.so.2", "libcrypto.so.3", "libgcrypt.so.20"];
/// The instruction XGETBV, and one as long that answers "none but the oldest" (XOR EAX, EAX; NOP).
const ASKED: [u8; 3] = [0x0f, 0x01, 0xd0];
const NONE: [u8; 3] = [0x31, 0xc0, 0x90];

/// Root's password at the console.
pub const PASSWORD: &str = "correct horse";

/// A guest that is to be booted.
#[derive(Debug)]
pub struct Machine {
    pub scratch: Scratch,
    pub disk: PathBuf,
    partition: u32,
}

/// What was said by a guest.
#[derive(Debug)]
pub struct Said {
    /// All that the console showed.
    pub console: String,
}

impl Machine {
    /// A copy of an image; `None` where it is not here, or what boots it.
    pub fn of(name: &str) -> Option<Self> {
        Self::of_group("real", name)
    }

    /// The guest with cloud-init and NetworkManager, whose FAT partition is one that cloud-init looks for a seed on.
    pub fn with_cloud_init() -> Option<Self> {
        let machine = Self::of_booted("trixie-cloud")?;
        if !tree::have(&["mlabel"]) {
            return None;
        }
        tree::run(Command::new("mlabel").arg("-i").arg(format!("{}@@4M", text(&machine.disk))).arg("::CIDATA"));
        Some(machine)
    }

    /// A copy of a guest that is there to be booted alone.
    pub fn of_booted(name: &str) -> Option<Self> {
        Self::of_group("booted", name)
    }

    fn of_group(group: &str, name: &str) -> Option<Self> {
        if !tree::have(&["linux.uml", "python3", "ssh-keygen", "e2fsck"]) {
            return None;
        }
        let Image { path, partition, .. } = image::named(group, name)?;
        let scratch = Scratch::new();
        let disk = scratch.copy(&path, "disk.raw");
        Some(Self { scratch, disk, partition })
    }

    /// Where its root begins.
    pub fn offset(&self) -> u64 {
        image::open(&self.disk, self.partition).offset
    }

    /// The word of an option with a file of this content.
    pub fn with_file(&self, option: &str, name: &str, content: &str) -> String {
        format!("{option}{}", text(&self.scratch.file(name, content)))
    }

    /// What lets root in, and runs well there: the questions are `sh /root/questions`.
    pub fn console(&self, questions: &str) -> Vec<String> {
        let questions = format!("exec 2>&1\n{questions}\necho THE END\n");
        let mut words = self.plain_registers();
        words.push(self.with_file("--root-password=file:", "password", &format!("{PASSWORD}\n")));
        words.push(self.with_file("--upload=", "questions", &questions) + ":/root/questions");
        words
    }

    /// User Mode Linux keeps no registers of AVX: programs that use them go wrong. The guest's find none.
    ///
    /// A variable of glibc's would do the same, but ifupdown and sudo take it away from what they run.
    fn plain_registers(&self) -> Vec<String> {
        let mut words = Vec::new();
        for name in ASKING {
            let path = format!("/usr/lib/x86_64-linux-gnu/{name}");
            let read = super::run(&["cat", text(&self.disk), &path]);
            if !read.status.success() {
                assert_eq!(name, "libgcrypt.so.20", "any other is in every guest");
                continue;
            }
            let mut library = read.stdout;
            let found: Vec<usize> =
                library.windows(3).enumerate().filter(|(_, at)| **at == ASKED).map(|(at, _)| at).collect();
            assert!((1..=2).contains(&found.len()), "{name} asks {} times", found.len());
            for at in found {
                library[at..at + 3].copy_from_slice(&NONE);
            }
            let library = self.scratch.file(name, library);
            // The dynamic loader is run as a program, and gets the mode of what is uploaded.
            std::fs::set_permissions(&library, Permissions::from_mode(0o755)).expect("it is ours");
            words.push(format!("--upload={}:{path}", text(&library)));
        }
        words
    }

    /// Boots it with devices vec0, vec1, … of these MAC addresses. The dialogue is what is waited for, and what is typed then; root's
    /// is the last part of it.
    pub fn boot(&self, devices: &[&str], dialogue: &[(&str, &str)]) -> Said {
        let ours = [("login: ", "root"), ("assword: ", PASSWORD), ("# ", "sh /root/questions")];
        let dialogue = [dialogue, &ours[..]].concat();
        let machine = json!({
            "disk": text(&self.disk),
            "partition": self.partition,
            "home": text(self.scratch.path()),
            "plain_registers": text(&root().join("vfs/tests/uml/plain_registers.py")),
            "devices": devices,
            "dialogue": dialogue,
        });
        let console = python("support/boot.py", &machine, None);
        Said { console: console.as_str().expect("a text").to_owned() }
    }
}

impl Said {
    /// Whether the guest said this.
    pub fn has(&self, wanted: &str) -> bool {
        self.console.lines().any(|line| line.split_once("SAID ").is_some_and(|(_, said)| said.trim_end() == wanted))
    }

    /// Checks that the guest said these things and no others, in this order.
    #[track_caller]
    pub fn is(&self, expected: &[&str]) {
        let said = self.console.lines().filter_map(|line| Some(line.split_once("SAID ")?.1.trim_end()));
        assert_eq!(said.collect::<Vec<_>>(), expected, "{}", self.console);
    }
}

/// Options by which a guest has the modules of User Mode Linux, which are in a directory of this machine, and loads some of them before
/// there is a network.
pub fn modules(names: &[&str]) -> [String; 3] {
    let load = "/etc/systemd/system/systemd-modules-load.service.d/uml.conf";
    [
        "--append-line=/etc/fstab:none /usr/lib/modules hostfs ro,/usr/lib/uml/modules 0 0".to_owned(),
        format!("--write=/etc/modules-load.d/uml.conf:{}\n", names.join("\n")),
        format!(
            "--write={load}:[Unit]\nRequiresMountsFor=/usr/lib/modules\nWants=network-pre.target\nBefore=network-pre.target\n"
        ),
    ]
}

/// Runs the binary on a disk with these words, and has e2fsck judge it.
#[track_caller]
pub fn inject(machine: &Machine, words: &[String]) -> String {
    let mut all = vec!["inject", text(&machine.disk)];
    all.extend(words.iter().map(String::as_str));
    let told = super::expect(0, &all);
    super::oracle::e2fsck(&machine.disk, machine.offset());
    told
}

/// A key pair; gives the path of the private half.
pub fn key_pair(directory: &Path) -> PathBuf {
    let key = directory.join("id");
    super::oracle::succeed("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", text(&key)]);
    key
}
