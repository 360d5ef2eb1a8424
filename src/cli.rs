//! What was typed: clap's types and nothing else.

mod accounts;
mod config_drive;
mod files;
mod keys;
mod manifest;
mod network;
mod order;
mod reach;
mod seed;
mod serve;
mod setting;
mod spelling;
mod sysprep;
mod virt_tools;
mod writing;

pub use accounts::Accounts;
pub use config_drive::{
    ConfigDrive, ConfigDriveCommand, Create, Diff, DriveCompat, DriveFormat, DriveLayout, Extract, Facts, Show, Verify,
};

pub use files::Files;
pub use keys::Keys;
pub use manifest::Manifests;
pub use network::{Network, NetworkRenderer};
pub use order::{Order, Ordered, order};
pub use reach::{Access, Attach, Reach};
pub use seed::{Seed, SeedKind};
pub use serve::Serve;
pub use setting::Setting;
pub use spelling::{beginning_with, spelled_out};
pub use sysprep::Sysprep;
pub use virt_tools::{Add, VirtCustomize, VirtSysprep, VirtTools};
pub use writing::Writing;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Put ssh keys, network configuration, metadata, passwords and files into disk images, without booting or mounting.
#[derive(Debug, Parser)]
#[command(name = "imgraft", version, propagate_version = true, about, max_term_width = 80, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Say on standard error how far an injection is (twice: more detail)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl Cli {
    /// How much is said on standard error: `-x` of the virt tools is one step of it.
    pub fn verbosity(&self) -> u8 {
        let trace = match &self.command {
            Command::Inject(typed) => typed.virt_tools.trace,
            Command::Sysprep(typed) => typed.virt_tools.trace,
            _ => false,
        };
        self.verbose.max(u8::from(trace))
    }
}

const EXIT_CODES: &str = "Exit status: 0 done, or nothing to do; 1 failed, the image is untouched; 2 usage;
3 the image was refused (format, feature, safety), or cannot take the request;
4 the image is in use; 5 done, but an optional item failed;
6 the host failed in the middle of the commit and again when it was taken back:
the message says what the image is and what to run.";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Put items into an image: all of them, or nothing
    Inject(Box<Inject>),
    /// Take out of a guest what makes it this one machine, so that it can be cloned
    ///
    /// The operations, their names and which of them are done unasked are virt-sysprep's; those that make no sense without a
    /// device or a program run are refused where they are named. All of them are done, or nothing; a rerun changes nothing.
    Sysprep(Box<Sysprep>),
    /// What `sysprep --list-operations` is, which needs no image
    #[command(skip)]
    ListOperations,
    /// Show format, partitions, filesystems and guest of an image
    ///
    /// Of an image that is refused: what it is, what other files it names, and the command that converts it; the exit
    /// status is 3 then.
    Inspect(Inspect),
    /// List a directory, or a file, of the guest
    Ls(Look),
    /// Print a file of the guest
    Cat(Look),
    /// Finish or discard what an interrupted run left of a commit to a raw image
    Recover(Recover),
    /// Take a run of inject or sysprep back by the file that its --keep-undo has written
    ///
    /// The image is then as it was before that run, to the byte. It is refused, and nothing is written, where somebody has
    /// written to the image since: a guest, another run that was not undone first.
    Undo(Undo),
    /// Serve an image to other programs over NBD: qemu-img, nbdcopy, a kernel
    ///
    /// Unless it is --read-only, what a client writes is held until the last client has gone, and is then committed as a
    /// whole. If a client goes without saying goodbye, or the server is ended by a signal, nothing is written.
    Serve(Serve),
    /// Print the JSON Schema of manifests, which inject --manifest reads
    Schema,
    /// Make config drives for cloud-init and its like
    ConfigDrive(ConfigDrive),
}

/// The image and the volume in it.
#[derive(Debug, Args)]
pub struct Target {
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub file: ImageFile,

    /// The volume: auto (the one that holds a guest's root), whole, a partition number, GROUP/VOLUME of LVM2, label:NAME or
    /// uuid:UUID
    ///
    /// A logical volume may also be spelled /dev/GROUP/VOLUME, /dev/mapper/GROUP-VOLUME, or by its dm-uuid-LVM-… or
    /// dm-name-GROUP-VOLUME in /dev/disk/by-id. Of an encrypted (LUKS) volume it is
    /// what is in it, by --key. -1 and 0 are taken as auto and whole, as in Nova.
    #[arg(long, value_name = "VOLUME", default_value = "auto", allow_hyphen_values = true)]
    pub partition: String,

    /// What is mounted at PATH of the guest, beside or instead of what its fstab says (repeatable)
    ///
    /// VOLUME is one as --partition takes it. none:PATH: nothing is mounted there, the path lies on the filesystem around it.
    /// none alone leaves the guest's own mounts (its fstab, and the partitions that systemd mounts by their types) out of account.
    #[arg(long, value_name = "VOLUME:PATH|none:PATH|none")]
    pub mount: Vec<String>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub reach: Reach,
}

/// The image.
#[derive(Debug, Args)]
pub struct ImageFile {
    /// The disk image: a file, or a block device that nobody uses
    #[arg(required = true)]
    pub image: Option<PathBuf>,

    /// The image's format; a file declared raw is never probed [default: detected]
    #[arg(long, value_enum)]
    pub format: Vec<ImageFormat>,

    /// Open the backing files of a qcow2 image, where they lie in one of these directories or below (repeatable)
    ///
    /// Without DIR, the directory of the image. The backing files' formats, raw or qcow2, must be recorded. They are only
    /// read, and so is an external data file; what is written goes to the image itself.
    #[arg(long, value_name = "DIR,...", num_args = 0..=1, require_equals = true, value_delimiter = ',')]
    pub backing_chain: Option<Vec<PathBuf>>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub keys: Keys,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub journal: Journal,
}

/// Where the journal of a raw image lies.
#[derive(Debug, Args)]
pub struct Journal {
    /// The directory for the journal of a raw image, which is beside the image otherwise
    ///
    /// It has to survive a power loss, and is made where it is missing; if a run is interrupted, the next one and `imgraft
    /// recover` have to be told the same. [default for a block device: /var/lib/imgraft of root, else imgraft in
    /// $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// The image formats.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ImageFormat {
    /// Detected, as without the option
    Auto,
    /// The file's bytes are the disk
    Raw,
    /// QEMU's copy-on-write format, versions 2 and 3
    Qcow2,
}

/// Whose behaviour to show.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum CompatWith {
    /// OpenStack Nova's bytes and modes, its quirks included; only `files` is required
    Nova,
}

/// Arguments of `inject`.
#[derive(Debug, Args)]
pub struct Inject {
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub target: Target,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub manifests: Manifests,

    /// Put in what an instance document has: root's key and password, the network, metadata and files
    ///
    /// The same document makes a config drive (imgraft config-drive create); an instance with config_drive: true is
    /// refused here, as its data goes onto the drive. Options of the same items add to it.
    #[arg(long, value_name = "INSTANCE.json|yaml")]
    pub instance: Option<PathBuf>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub accounts: Accounts,

    /// Add a public key to USER's authorized_keys (item "key"; repeatable)
    ///
    /// Without a selector the key is the newest of ~/.ssh/id*.pub of the calling user, without certificates, and a note says which.
    /// Without USER (file:PATH, string:KEY) it goes to root. Every key in the file is added.
    #[arg(long, value_name = "USER[:file:PATH|:string:KEY]")]
    pub ssh_inject: Vec<String>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub network: Network,

    /// Give the guest a host name (item "hostname")
    ///
    /// It goes into /etc/hostname and what older guests read instead, and into /etc/hosts, where the old name gives way to
    /// it. A cloud-init in the guest is told to keep it. Of several the last one counts, as of --timezone and
    /// --password-crypto.
    #[arg(long, value_name = "NAME")]
    pub hostname: Vec<String>,

    /// Set the guest's time zone, one that its tzdata has, as Europe/Berlin (item "timezone")
    #[arg(long, value_name = "ZONE")]
    pub timezone: Vec<String>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub setting: Setting,

    /// Put a key and a value into /meta.js (item "metadata"; repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub metadata: Vec<String>,

    /// Put the members of a JSON object, all strings, into /meta.js (item "metadata"; not together with --metadata)
    #[arg(long, value_name = "FILE.json", conflicts_with = "metadata")]
    pub metadata_file: Option<PathBuf>,

    /// Set root's password (item "password")
    ///
    /// SELECTOR is [locked:]file:PATH (its first line), [locked:]env:NAME, [locked:]stdin, [locked:]password:TEXT
    /// (visible to every user of this machine while imgraft runs), hash:CRYPT, [locked:]random (shown once),
    /// [locked:]disabled, or locked.
    #[arg(long, value_name = "SELECTOR")]
    pub root_password: Option<String>,

    /// Set a user's password, SELECTOR as above (item "password"; repeatable)
    #[arg(long, value_name = "USER:SELECTOR")]
    pub password: Vec<String>,

    /// Hash the passwords of this run by this method, whatever the guest uses: yescrypt, sha512 or sha256 (item "password")
    ///
    /// It holds for every password that the run sets, not for hash:CRYPT, and not for what the guest's own passwd does. A
    /// hash of another method is made anew, even where the password fits it.
    #[arg(long, value_enum, value_name = "METHOD")]
    pub password_crypto: Vec<PasswordCrypto>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub files: Files,

    /// Have the guest run a script once, as root, when it is first booted (item "firstboot"; repeatable)
    ///
    /// Scripts and commands run in the order given, when the network is up, by the guest's systemd, OpenRC or sysvinit. What
    /// they say is in the guest's /var/log/imgraft-firstboot.log. A script without #! is run by /bin/sh.
    #[arg(long, value_name = "SCRIPT")]
    pub firstboot: Vec<PathBuf>,

    /// The same with a command of /bin/sh (repeatable)
    #[arg(long, value_name = "COMMAND")]
    pub firstboot_command: Vec<String>,

    /// Have the guest install packages when it is first booted, by its own package manager and from its own sources (repeatable)
    #[arg(long, value_name = "PACKAGE,PACKAGE...")]
    pub firstboot_install: Vec<String>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub seed: Seed,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub writing: Writing,

    /// Items that may fail: each is rolled back, reported, and the exit status is 5
    #[arg(long, value_name = "ITEM,...", value_delimiter = ',')]
    pub optional: Vec<ItemName>,

    /// Make every item optional
    #[arg(long, conflicts_with = "optional")]
    pub best_effort: bool,

    /// Behave as another tool does, where imgraft differs on purpose
    #[arg(long, value_enum, value_name = "TOOL")]
    pub compat: Option<CompatWith>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub add: Add,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub virt_tools: VirtTools,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub virt_customize: VirtCustomize,
}

/// The methods of password hashes, as virt-customize names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names say it")]
pub enum PasswordCrypto {
    Yescrypt,
    Sha512,
    Sha256,
    /// Refused with the reason.
    #[value(hide = true)]
    Md5,
}

/// The items by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ItemName {
    Accounts,
    Key,
    Net,
    Hostname,
    HostKeys,
    Timezone,
    Locale,
    MachineId,
    Metadata,
    Password,
    Files,
    Units,
    Firstboot,
    Seed,
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub target: Target,

    /// Report in JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `ls` and `cat`.
#[derive(Debug, Args)]
pub struct Look {
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub target: Target,

    /// The absolute path inside the guest; symbolic links are followed inside the guest
    pub path: std::ffi::OsString,
}

/// Arguments of `recover`.
#[derive(Debug, Args)]
pub struct Recover {
    /// The disk image
    pub image: PathBuf,

    /// Recover the external data file of a qcow2 image too, which is this one
    #[arg(long, value_name = "FILE")]
    pub data_file: Option<PathBuf>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub journal: Journal,
}

/// Arguments of `undo`.
#[derive(Debug, Args)]
pub struct Undo {
    /// The disk image
    pub image: PathBuf,

    /// The undo file; it stays, is of no use after it, and may hold old password hashes
    pub file: PathBuf,

    /// Take your word that the image was not written to since, and not the time of its last write
    ///
    /// For a copy of the image, or where a crash interrupted the run. What the run has written must be there all the same.
    #[arg(long)]
    pub unchanged: bool,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub journal: Journal,
}

/// The command line, in which `--add` may stand for the image.
fn command() -> clap::Command {
    let image = |instead: &'static [&'static str]| {
        move |command: clap::Command| {
            command.mut_arg("image", |image| image.required(false).required_unless_present_any(instead))
        }
    };
    // With --domain there is no image, and a better error than clap's.
    Cli::command()
        .mut_subcommand("inject", image(&["add", "domain"]))
        .mut_subcommand("sysprep", image(&["add", "domain", "list_operations"]))
}

/// Parses the words of a command line, of which the first is the program. To clap `--help` is an error too.
///
/// Beside what was typed it gives where its options stand.
pub fn parse(words: Vec<OsString>) -> Result<(Cli, Order), clap::Error> {
    let matches = command().try_get_matches_from(words)?;
    if matches.subcommand_matches("sysprep").is_some_and(sysprep::lists_operations) {
        return Ok((Cli { command: Command::ListOperations, verbose: 0 }, Order::default()));
    }
    let cli = Cli::from_arg_matches(&matches)?;
    let order = matches.subcommand_matches("inject").map(order).unwrap_or_default();
    Ok((cli, order))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
        command().debug_assert();
    }

    #[test]
    fn an_image_has_two_spellings() {
        for verb in ["inject", "sysprep"] {
            let image = |words: &[&str]| {
                let matches = command().try_get_matches_from([&["imgraft", verb], words].concat()).ok()?;
                let (file, add) = match Cli::from_arg_matches(&matches).expect("the types fit").command {
                    Command::Inject(typed) => (typed.target.file, typed.add),
                    Command::Sysprep(typed) => (typed.target.file, typed.add),
                    other => panic!("{other:?}"),
                };
                file.image.or(add.add)
            };
            for words in [&["x"][..], &["-a", "x"], &["--add", "x"], &["--dry-run", "--add=x"]] {
                assert_eq!(image(words), Some("x".into()), "{words:?}");
            }
            let domain = command().try_get_matches_from(["imgraft", verb, "-d", "x"]);
            assert!(domain.is_ok(), "{verb}");
            for words in [&[][..], &["x", "-a", "y"], &["-a", "x", "-a", "y"]] {
                assert_eq!(image(words), None, "{words:?}");
            }
        }
    }
}
