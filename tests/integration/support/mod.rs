//! Running the binary, finding images, asking oracles.

pub mod drive;
pub mod image;
pub mod machine;
pub mod oracle;
pub mod rooted;

/// Trees as our driver and as the kernel shows them: what the library's own tests compare by.
#[path = "../../../vfs/tests/oracle/mod.rs"]
pub mod tree;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The workspace's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The binary, with an environment that does not depend on the caller's.
pub fn imgraft() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imgraft"));
    command.env_remove("SOURCE_DATE_EPOCH").env("NO_COLOR", "1");
    command
}

/// Runs the binary with these words.
pub fn run(words: &[&str]) -> Output {
    imgraft().args(words).output().expect("the binary starts")
}

/// Runs the binary, which must exit with `status`; gives its standard output.
pub fn expect(status: i32, words: &[&str]) -> String {
    let output = run(words);
    assert_eq!(
        output.status.code(),
        Some(status),
        "imgraft {}\nstdout: {}\nstderr: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("the output is text")
}

/// Runs `inject` at a fixed time, which has to succeed; gives its report.
pub fn inject(disk: &Path, words: &[&str]) -> serde_json::Value {
    let mut command = imgraft();
    command.env("SOURCE_DATE_EPOCH", "1700000000").args(["inject", text(disk), "--json"]).args(words);
    let output = command.output().expect("the binary starts");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the report is JSON")
}

/// A document with the key and the hash of the tests in it.
pub fn filled(document: &str) -> String {
    document.replace("$HASH", HASH).replace("$KEY", KEY)
}

/// A directory of one test, on a filesystem with room for images.
#[derive(Debug)]
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    pub fn new() -> Self {
        let parent = root().join("target/scratch");
        std::fs::create_dir_all(&parent).expect("target is writable");
        Self(tempfile::tempdir_in(parent).expect("a directory can be made"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).expect("the file can be written");
        path
    }

    /// A copy of an image under this name; holes stay holes.
    pub fn copy(&self, from: &Path, name: &str) -> PathBuf {
        let to = self.path().join(name);
        let status = Command::new("cp").arg("--sparse=always").arg("--reflink=auto").arg(from).arg(&to).status();
        assert!(status.expect("cp runs").success(), "copy {} to {}", from.display(), to.display());
        to
    }
}

/// The words of a path.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are text")
}

/// A run of all five items, as the README shows it.
pub struct FiveItems {
    pub words: Vec<String>,
    /// Where the network configuration goes, and what it is.
    pub network: (&'static str, &'static str),
}

/// A real ed25519 public key (its private half was thrown away).
pub const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBDlupvmsDyDQUo90KjWHvxl6pLl7jje9Rk4mVE9qlbt tests@imgraft";

/// `imgraft`, by SHA-512 with the salt `saltsalt`.
pub const HASH: &str =
    "$6$saltsalt$u3xff2xCciHcRjzEt4obayPOLwwIpESVvrJLn9VCG6oY93h9mvv2qWPp7RJ.WDEyKnX7/wBdIpeFTaImaToUY1";

/// The network configuration of the five items.
pub const INTERFACES: &str = "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n    address 192.0.2.10/24\n    gateway 192.0.2.1\n";

/// The same in the words of systemd-networkd.
const NETWORKD: &str = "[Match]\nName=eth0\n\n[Network]\nAddress=192.0.2.10/24\nGateway=192.0.2.1\n";

impl FiveItems {
    /// For a guest with ifupdown.
    pub fn new(scratch: &Scratch) -> Self {
        Self::with_network(scratch, ("/etc/network/interfaces", INTERFACES))
    }

    /// For a guest of the manifest: those of trixie have systemd-networkd.
    pub fn for_guest(scratch: &Scratch, name: &str) -> Self {
        if name.starts_with("trixie") {
            return Self::with_network(scratch, ("/etc/systemd/network/10-imgraft.network", NETWORKD));
        }
        Self::new(scratch)
    }

    fn with_network(scratch: &Scratch, network: (&'static str, &'static str)) -> Self {
        let key = scratch.file("key.pub", format!("{KEY}\n"));
        let interfaces = scratch.file("interfaces", network.1);
        let motd = scratch.file("motd", "put here by imgraft\n");
        let words = [
            "--ssh-inject".to_owned(),
            format!("root:file:{}", text(&key)),
            "--network".to_owned(),
            text(&interfaces).to_owned(),
            "--metadata".to_owned(),
            "role=web".to_owned(),
            "--root-password".to_owned(),
            format!("hash:{HASH}"),
            "--upload".to_owned(),
            format!("{}:/etc/motd", text(&motd)),
            "--write".to_owned(),
            "/srv/imgraft/deep/file:written\n".to_owned(),
            "--chmod".to_owned(),
            "0640:/srv/imgraft/deep/file".to_owned(),
            "--chown".to_owned(),
            "root:root:/srv/imgraft/deep/file".to_owned(),
        ];
        Self { words: words.into(), network }
    }

    /// The words of `imgraft inject IMAGE` with these items and more.
    pub fn on<'a>(&'a self, image: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
        let mut words = vec!["inject", text(image)];
        words.extend(self.words.iter().map(String::as_str));
        words.extend(more);
        words
    }
}
