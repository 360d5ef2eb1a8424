//! How a filesystem may be reached.

use crate::cli;
use crate::failure::Failure;
use imgraft_vfs::kernel::host::{Fuse, Nbd};
use imgraft_vfs::kernel::uml::Uml;
use imgraft_vfs::kernel::{Access, Attach, Choice};
use std::sync::Arc;

/// Whether a kernel may write to the image itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InPlace {
    Refused,
    Allowed,
}

/// What was typed, as something to open filesystems with.
pub(super) fn access(typed: &cli::Reach, in_place: InPlace) -> Result<Access, Failure> {
    if typed.attach != cli::Attach::Auto && typed.access == cli::Access::Userspace {
        return Err(Failure::usage("--attach is about a kernel, and --access userspace uses none")
            .with_hint("leave one of the two out"));
    }
    if (typed.attach == cli::Attach::Loop) != (in_place == InPlace::Allowed) {
        return Err(Failure::usage("--attach loop and --in-place-unsafe go together, for inject")
            .with_hint("--attach fuse goes through the transaction: all or nothing"));
    }
    if typed.uml_kernel.is_some() && !matches!(typed.attach, cli::Attach::Auto | cli::Attach::Uml) {
        return Err(Failure::usage("--uml-kernel is for --attach uml").with_hint("leave one of the two out"));
    }
    let uml = || Arc::new(Uml::new(typed.uml_kernel.clone()));
    let ways: Vec<Arc<dyn Attach>> = match typed.attach {
        // As root the kernel that is there already; else one of our own. A loop device is not looked through for partitions, as a
        // network block device is, by a dozen readers of tables that a hostile volume may have written.
        cli::Attach::Auto => vec![Arc::new(Fuse::new()), Arc::new(Nbd::new()), uml()],
        cli::Attach::Fuse => vec![Arc::new(Fuse::new())],
        cli::Attach::Nbd => vec![Arc::new(Nbd::new())],
        cli::Attach::Uml => vec![uml()],
        cli::Attach::Loop => return Ok(Access::in_place()),
    };
    let choice = match (typed.access, typed.attach) {
        (cli::Access::Userspace, _) => return Ok(Access::userspace()),
        (cli::Access::Auto, cli::Attach::Auto) => Choice::Auto,
        _ => Choice::Kernel,
    };
    Ok(Access::new(choice, ways))
}
