//! Lists every file of a raw image that is one filesystem: mode, links, owner, group, size and path. For `make bench`.

use imgraft_vfs::fs::{self, FileType, Mode};
use imgraft_vfs::image::{self, Format};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::resolve::{Follow, resolve};
use imgraft_vfs::transaction::{Access, Transaction};
use imgraft_vfs::{Error, ErrorKind, Layer, Result};
use std::io::{BufWriter, Write};
use std::path::Path;

fn list(image: &Path, out: &mut impl Write) -> Result<()> {
    let txn = Transaction::begin(image, Access::Read)?;
    let fs = fs::open(image::open(txn.overlay(), Some(Format::Raw))?, Mode::ReadOnly)?;
    let mut pending = vec![GuestPath::parse("/")?];
    while let Some(directory) = pending.pop() {
        let at = resolve(&*fs, &directory, Follow::ExcludeLast)?;
        for entry in fs.read_dir(&at)? {
            let path = directory.join(&entry.name)?;
            let Some(found) = fs.lookup(&resolve(&*fs, &path, Follow::ExcludeLast)?)? else { continue };
            let (mode, links, uid, gid, size) = (found.mode, found.links, found.uid, found.gid, found.size);
            let name = path.as_bytes().escape_ascii();
            writeln!(out, "{mode:04o} {links:>3} {uid:>5} {gid:>5} {size:>10} {name}")
                .map_err(|error| Error::io(Layer::Host, "write", error))?;
            if found.file_type == FileType::Directory {
                pending.push(path);
            }
        }
    }
    out.flush().map_err(|error| Error::io(Layer::Host, "write", error))
}

fn main() -> Result<()> {
    let image = std::env::args_os().nth(1);
    let image = image.ok_or_else(|| Error::new(ErrorKind::Invalid, Layer::Host, "the name of an image is missing"))?;
    list(Path::new(&image), &mut BufWriter::new(std::io::stdout().lock()))
}
