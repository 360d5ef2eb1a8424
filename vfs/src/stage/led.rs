//! Where symbolic links have led what was changed.

use super::{Stage, failure};
use crate::error::{ErrorKind, Result};
use crate::fs::{FileType, Lookup};
use crate::path::{GuestPath, Resolved};
use crate::resolve::{Follow, resolve};

/// A symbolic link by which a changed file was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Led {
    /// The file that was changed.
    pub at: Resolved,
    /// The path by which it was named.
    pub named: GuestPath,
    /// The link: that path, or a directory of it.
    pub link: GuestPath,
    /// Where the link leads.
    pub target: Resolved,
}

impl Led {
    /// Whether the link stands in the place of the file, and not of a directory around it.
    pub fn is_of_file(&self) -> bool {
        self.link == self.named
    }
}

impl Stage<'_> {
    /// Remembers by which path a file was named first, where that is not its own.
    pub(super) fn named(&mut self, path: &GuestPath, at: &Resolved) {
        if path.as_bytes() != at.as_bytes() && !self.named.contains_key(at) {
            self.named.insert(at.clone(), path.clone());
        }
    }

    /// `WrongType` where what `path` leads to, at `at`, is no regular file; it names the link where the path is one.
    pub(super) fn check_regular(&self, path: &GuestPath, at: &Resolved, file_type: FileType) -> Result<()> {
        if file_type == FileType::Regular {
            return Ok(());
        }
        let here = resolve(self, path, Follow::ExcludeLast)?;
        Err(match here == *at {
            true => failure(ErrorKind::WrongType, at, "not a regular file"),
            false => {
                let message = format!("a symbolic link to {at}, and that is not a regular file");
                failure(ErrorKind::WrongType, &here, &message)
            }
        })
    }

    /// The first symbolic link on the way to each file that was written, made or given attributes in a place that `is_there` takes, of
    /// those that were reached by one.
    pub fn led_to(&self, is_there: impl Fn(&[u8]) -> bool) -> Result<Vec<Led>> {
        let mut led = Vec::new();
        for (at, named) in self.named.iter().filter(|(at, _)| is_there(at.as_bytes())) {
            let around = std::iter::successors(Some(named.clone()), GuestPath::parent).collect::<Vec<_>>();
            for link in around.into_iter().rev() {
                let metadata = self.lookup(&resolve(self, &link, Follow::ExcludeLast)?)?;
                if metadata.is_none_or(|metadata| metadata.file_type != FileType::Symlink) {
                    continue;
                }
                let target = self.resolve(&link)?;
                if is_there(target.as_bytes()) {
                    led.push(Led { at: at.clone(), named: named.clone(), link, target });
                    break;
                }
            }
        }
        Ok(led)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::mem::MemFs;

    #[test]
    fn what_is_no_file_is_named_by_its_link() {
        let fs = MemFs::builder().dir("/srv").symlink("/etc/hosts", "/srv").file("/etc/motd", "").build().unwrap();
        let stage = Stage::new(&fs);
        let told = |path: &str| stage.read(&GuestPath::parse(path).unwrap(), 10).map_err(|error| error.to_string());
        assert!(
            told("/etc/hosts")
                .unwrap_err()
                .contains("/etc/hosts: a symbolic link to /srv, and that is not a regular file")
        );
        assert!(told("/srv").unwrap_err().contains("/srv: not a regular file"));
        assert_eq!(told("/etc/motd"), Ok(Some(Vec::new())));
    }
}
