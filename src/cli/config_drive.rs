//! What was typed after `config-drive`.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Arguments of `config-drive`.
#[derive(Debug, Args)]
pub struct ConfigDrive {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigDriveCommand,
}

/// The subcommands of `config-drive`.
#[derive(Debug, Subcommand)]
pub enum ConfigDriveCommand {
    /// Make a drive from an instance document, from options, or from both (options go first)
    Create(Box<Create>),
    /// Print the JSON Schema of instance documents
    Schema,
    /// Show what is in a drive: the files, and the documents that cloud-init reads
    Show(Show),
    /// Say what cloud-init makes of a drive: which version it reads, and what is broken (exit status 3)
    Verify(Verify),
    /// Put the files of a drive into a directory
    Extract(Extract),
    /// Compare two drives by document and key: exit status 0 where they are the same, 1 where they differ, as diff(1)
    Diff(Diff),
}

/// Arguments of `config-drive create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The instance document: JSON, or YAML where its name ends with .yaml or .yml
    ///
    /// imgraft config-drive schema says what may be in it. Without it --uuid and --hostname are needed.
    #[arg(value_name = "INSTANCE.json|yaml")]
    pub instance: Option<PathBuf>,

    /// The drive: a new file of mode 0600 that appears whole or not at all
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,

    /// The drive's format [default: the document's, else iso9660]
    #[arg(long, value_enum)]
    pub format: Option<DriveFormat>,

    /// Which files the drive has: those of OpenStack (label config-2), or of cloud-init's NoCloud (label cidata)
    #[arg(long, value_enum, default_value = "openstack")]
    pub layout: DriveLayout,

    /// The size of a vfat drive in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=2048))]
    pub size: u64,

    /// Write what another tool writes, byte for byte, where imgraft differs on purpose
    #[arg(long, value_enum, value_name = "TOOL")]
    pub compat: Option<DriveCompat>,

    /// Replace a file that is there and that nobody uses
    #[arg(long)]
    pub force: bool,

    /// Make a drive of each line of a file, which are instance documents in JSON; --output has {uuid} in its name
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["instance", "Facts"])]
    pub instances: Option<PathBuf>,

    /// Take these bytes for the random seed of all versions: file:PATH [default: fresh ones from the system for each]
    #[arg(long, value_name = "SELECTOR")]
    pub random_seed: Option<String>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub facts: Facts,

    /// Report in JSON on standard output; with --instances a line for each drive
    #[arg(long)]
    pub json: bool,

    /// No report on success
    #[arg(short, long)]
    pub quiet: bool,
}

/// What is known of the instance.
#[derive(Debug, Args)]
pub struct Facts {
    /// Its UUID: cloud-init's instance-id
    #[arg(long)]
    pub uuid: Option<String>,

    /// Its host name, without a domain
    #[arg(long)]
    pub hostname: Option<String>,

    /// Its name for people [default: the host name]
    #[arg(long)]
    pub name: Option<String>,

    /// Its user data, byte for byte
    #[arg(long, value_name = "FILE")]
    pub user_data: Option<PathBuf>,

    /// Metadata: a key and a value (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub meta: Vec<String>,

    /// Its ssh key, by name
    #[arg(long, value_name = "NAME=FILE")]
    pub ssh_key: Option<String>,

    /// Its network interfaces: a list as Nova keeps it (network_info), JSON or YAML
    #[arg(long, value_name = "FILE")]
    pub network: Option<PathBuf>,

    /// A file for the guest, at the absolute path DEST (repeatable)
    #[arg(long, value_name = "SRC:DEST")]
    pub file: Vec<String>,

    /// The administrator's password (admin_pass): SELECTOR is file:PATH (its first line), env:NAME, stdin, password:TEXT
    /// (visible to every user of this machine while imgraft runs) or random (shown once)
    ///
    /// cloudbase-init uses it; cloud-init does not.
    #[arg(long, value_name = "SELECTOR")]
    pub admin_password: Option<String>,

    /// Static vendor data: a file with a JSON object
    #[arg(long, value_name = "FILE")]
    pub vendor_data: Option<PathBuf>,

    /// Its availability zone
    #[arg(long, value_name = "ZONE")]
    pub availability_zone: Option<String>,

    /// Its project
    #[arg(long, value_name = "ID")]
    pub project_id: Option<String>,

    /// Which one it is of those that were started together
    #[arg(long, value_name = "NUMBER")]
    pub launch_index: Option<u32>,
}

/// The formats of drives.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum DriveFormat {
    /// A CD image with Joliet and Rock Ridge names
    #[value(name = "iso9660")]
    Iso9660,
    /// A FAT filesystem
    Vfat,
}

/// The layouts of drives.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum DriveLayout {
    /// OpenStack's config drive
    #[value(name = "openstack")]
    OpenStack,
    /// cloud-init's NoCloud
    #[value(name = "nocloud")]
    NoCloud,
}

/// Whose drives to write.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum DriveCompat {
    /// OpenStack Nova of today
    Nova,
    /// OpenStack Nova of the Grizzly release (2013.1)
    NovaGrizzly,
}

/// Arguments of `config-drive show`.
#[derive(Debug, Args)]
pub struct Show {
    /// The drive: an ISO 9660 or FAT image, whoever made it
    pub drive: PathBuf,

    /// Show the documents of all versions, not only of the one that cloud-init reads
    #[arg(long)]
    pub all: bool,

    /// Show admin_pass, random_seed, password, user data, vendor data, injected files and damaged documents too, which may hold secrets
    #[arg(long)]
    pub show_secrets: bool,

    /// All documents in JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `config-drive verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The drive: an ISO 9660 or FAT image, whoever made it
    pub drive: PathBuf,

    /// Report in JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `config-drive extract`.
#[derive(Debug, Args)]
pub struct Extract {
    /// The drive: an ISO 9660 or FAT image, whoever made it
    pub drive: PathBuf,

    /// Where to: a directory that is not there, or empty. Files get mode 0600, directories 0700
    pub directory: PathBuf,
}

/// Arguments of `config-drive diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// One drive
    pub a: PathBuf,

    /// The other drive; the format, modes and times need not be the same
    pub b: PathBuf,

    /// Show the values of admin_pass, random_seed and password, and what differs in user data, vendor data and injected files
    #[arg(long)]
    pub show_secrets: bool,

    /// Report in JSON
    #[arg(long)]
    pub json: bool,
}
