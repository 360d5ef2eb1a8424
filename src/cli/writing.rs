//! Where the changes to an image are written, and how they are told.

use clap::Args;
use std::path::PathBuf;

/// Where the changes to an image are written, and how they are told.
#[derive(Debug, Args)]
pub struct Writing {
    /// Write the result into a new file and leave the image as it is
    ///
    /// The new file is a copy (by reflink where the filesystem can) with the changes in it, mode 0600, and appears whole or
    /// not at all.
    #[arg(long, value_name = "NEW", conflicts_with = "overlay")]
    pub output: Option<PathBuf>,

    /// Write the changes alone into a new, thin qcow2 file over the image
    ///
    /// The image is recorded as its backing file, by a relative name where it lies beside the new file or below; it is left
    /// as it is, and has to stay as it is from then on.
    #[arg(long, value_name = "NEW.qcow2")]
    pub overlay: Option<PathBuf>,

    /// Write a file first by which `imgraft undo` takes this run back, as long as nobody else has written to the image
    ///
    /// It must not be there yet, and gets the mode 0600: of a raw image it holds what was there before, old password
    /// hashes included. Of a qcow2 image the room of what the run replaces is not given back to the host. If nothing is
    /// changed, there is no file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "overlay", "dry_run"])]
    pub keep_undo: Option<PathBuf>,

    /// Write to the image's external data file too, which is this one
    ///
    /// That the image names it is not enough, as an image could name any file. No other file is opened for that.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "overlay", "keep_undo"])]
    pub data_file: Option<PathBuf>,

    /// Let --output or --overlay replace a file that is there and that nobody uses
    #[arg(long)]
    pub force: bool,

    /// With --attach loop: let the kernel write into the raw image itself, without a transaction
    ///
    /// A run that fails or is interrupted leaves the image as far as it has come.
    #[arg(long, conflicts_with_all = ["output", "overlay", "keep_undo", "dry_run"])]
    pub in_place_unsafe: bool,

    /// Show what would change, as a diff with modes and owners, and write nothing
    #[arg(short = 'n', long, alias = "dryrun", overrides_with = "dry_run")]
    pub dry_run: bool,

    /// Report in JSON on standard output
    #[arg(long)]
    pub json: bool,

    /// No report on success; passwords made up are shown on standard error all the same
    #[arg(short, long, overrides_with = "quiet")]
    pub quiet: bool,
}
