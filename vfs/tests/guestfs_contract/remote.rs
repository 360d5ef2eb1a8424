//! The reference filesystem, served by a thread at the other end of a socket.

use crate::ground::{DirectoryLinks, Made};
use imgraft_vfs::Result;
use imgraft_vfs::error::{Error, Layer};
use imgraft_vfs::fs::GuestFs;
use imgraft_vfs::fs::mem::MemFs;
use imgraft_vfs::fs::remote::{Channel, Keeper, Mount, Place, Remote, serve};
use imgraft_vfs::volume::Signature;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

#[derive(Debug)]
pub struct Socket(pub UnixStream);

impl Channel for Socket {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        let failed = |error| Error::io(Layer::Filesystem, "write to the socket", error);
        self.0.write_all(&(message.len() as u32).to_le_bytes()).map_err(failed)?;
        self.0.write_all(message).map_err(failed)
    }

    fn receive(&mut self) -> Result<Vec<u8>> {
        let failed = |error| Error::io(Layer::Filesystem, "read from the socket", error);
        let mut len = [0; 4];
        self.0.read_exact(&mut len).map_err(failed)?;
        let mut message = vec![0; u32::from_le_bytes(len) as usize];
        self.0.read_exact(&mut message).map_err(failed)?;
        Ok(message)
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

/// An empty filesystem for each who asks.
struct Shelf;

impl Keeper for Shelf {
    fn open(&mut self, _: &Mount) -> Result<(Box<dyn GuestFs>, Place)> {
        Ok((Box::new(MemFs::new()), Place::default()))
    }

    fn close(&mut self, fs: Box<dyn GuestFs>) -> Result<()> {
        fs.close()
    }
}

pub fn mem() -> Option<Made> {
    let (near, far) = UnixStream::pair().unwrap();
    std::thread::spawn(move || serve(&mut Socket(far), &mut Shelf));
    let signature = Signature { name: "mem", label: String::new(), uuid: String::new() };
    let (fs, _) = Remote::mount(Socket(near), &Mount { signature, now: None }).unwrap();
    Some(Made { fs: Box::new(fs), judge: Box::new(|fs| fs), links: DirectoryLinks::Counted })
}
