//! What is typed of `serve`.

use super::ImageFile;
use clap::Args;

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at the type")]
    pub file: ImageFile,

    /// What is served: whole (the disk), auto (the volume with a guest's root), a partition number, label:NAME or uuid:UUID
    #[arg(long, value_name = "VOLUME", default_value = "whole", allow_hyphen_values = true)]
    pub partition: String,

    /// Where to listen: a socket file, which gets the mode 0600, or an address and a port
    ///
    /// Whoever can reach an address can read the image, and write to it, without a password. The URI for clients is
    /// printed as soon as they can come; port 0 lets the system choose the port.
    #[arg(long, value_name = "unix:PATH|tcp:ADDR:PORT")]
    pub nbd: String,

    /// Refuse writes; others may read the image meanwhile
    #[arg(long)]
    pub read_only: bool,

    /// Serve on after the last client has gone, until a signal comes (with --read-only)
    #[arg(long, requires = "read_only")]
    pub persistent: bool,
}
