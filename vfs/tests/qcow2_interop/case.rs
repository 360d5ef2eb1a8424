//! The images of the matrix, as QEMU makes them.

use crate::qemu::{self, Rng, text};
use std::fs;
use std::path::Path;

/// The shapes of images in the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Plain,
    /// By deflate or by Zstandard.
    Compressed(&'static str),
    Preallocated(&'static str),
    Snapshots,
    Zeros,
    OddSize,
    LazyRefcounts,
    Bitmaps,
    /// Compressed clusters, zero clusters, snapshots and, in version 3, bitmaps.
    Everything(&'static str),
}

/// One image of the matrix.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub shape: Shape,
    pub compat: &'static str,
    pub cluster: u64,
    pub refcount_bits: u32,
    pub l2: L2,
}

/// The entries of L2 tables: 8 bytes, or 16 with a bitmap of subclusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum L2 {
    Standard,
    Extended,
}

impl Case {
    /// Every cluster size, with version 2 (whose refcounts are 16 bits wide) and version 3 with every tested width.
    pub fn all(shape: Shape) -> Vec<Self> {
        let mut all = Vec::new();
        for cluster in [512, 4 << 10, 64 << 10, 2 << 20] {
            // QEMU makes disks in units of 512 bytes.
            if shape == Shape::OddSize && cluster == 512 {
                continue;
            }
            if !matches!(
                shape,
                Shape::LazyRefcounts | Shape::Compressed("zstd") | Shape::Bitmaps | Shape::Everything("zstd")
            ) {
                all.push(Self { shape, compat: "0.10", cluster, refcount_bits: 16, l2: L2::Standard });
            }
            let widths: &[u32] = match (shape, cluster) {
                // QEMU makes no snapshot where a refcount cannot be 2; that of two snapshots and the disk is 3. Pieces
                // of many compressed clusters are in one small cluster.
                (Shape::Everything(_), 512 | 65536) => &[8, 32],
                (Shape::Everything(_), _) => &[16],
                (Shape::Snapshots, 4096) => &[2, 4, 8, 16, 32, 64],
                (Shape::Snapshots, _) => &[8, 16, 64],
                (Shape::Plain, 4096) => &[1, 2, 4, 8, 16, 32, 64],
                _ => &[1, 8, 16, 64],
            };
            let standard = |&refcount_bits| Self { shape, compat: "1.1", cluster, refcount_bits, l2: L2::Standard };
            all.extend(widths.iter().map(standard));
        }
        // A subcluster is a sector at least.
        for (cluster, refcount_bits) in [(16 << 10, 16), (64 << 10, 64), (2 << 20, 16)] {
            all.push(Self { shape, compat: "1.1", cluster, refcount_bits, l2: L2::Extended });
        }
        all
    }

    pub fn size(self) -> u64 {
        let size: u64 = match self.cluster {
            512 => 1 << 20,
            4096 | 16384 => 4 << 20,
            65536 => 6 << 20,
            _ => 18 << 20,
        };
        if self.shape == Shape::OddSize { size - self.cluster / 2 - 512 } else { size }
    }

    pub fn seed(self) -> u64 {
        let shape = format!("{:?}", self.shape).bytes().fold(7u64, |sum, byte| sum.wrapping_mul(31) ^ u64::from(byte));
        shape
            ^ (self.cluster << 8)
            ^ u64::from(self.refcount_bits)
            ^ u64::from(self.compat == "1.1") << 40
            ^ u64::from(self.l2 == L2::Extended) << 41
    }

    fn options(self) -> String {
        let mut options = format!("compat={},cluster_size={}", self.compat, self.cluster);
        if self.compat == "1.1" {
            options += &format!(",refcount_bits={}", self.refcount_bits);
        }
        if self.l2 == L2::Extended {
            options += ",extended_l2=on";
        }
        match self.shape {
            Shape::Compressed("zstd") | Shape::Everything("zstd") => options += ",compression_type=zstd",
            Shape::Preallocated(how) => options += &format!(",preallocation={how}"),
            Shape::LazyRefcounts => options += ",lazy_refcounts=on",
            _ => {}
        }
        options
    }

    /// Makes the image, and gives the names of its snapshots.
    pub fn build(self, path: &Path, rng: &mut Rng) -> Vec<&'static str> {
        let size = self.size();
        if let Shape::Compressed(_) | Shape::Everything(_) = self.shape {
            let raw = path.with_extension("source");
            fs::write(&raw, compressible(size, rng)).unwrap();
            qemu::img(&["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", &self.options(), text(&raw), text(path)]);
            return self.add_everything(path, rng);
        }
        qemu::img(&["create", "-q", "-f", "qcow2", "-o", &self.options(), text(path), &size.to_string()]);
        self.fill(path, rng);
        match self.shape {
            Shape::Bitmaps => {
                qemu::img(&["bitmap", "--add", text(path), "daily"]);
                qemu::img(&["bitmap", "--add", "-g", "512", text(path), "fine"]);
                self.fill(path, rng);
                qemu::img(&["bitmap", "--add", "--disable", text(path), "idle"]);
                Vec::new()
            }
            Shape::Snapshots => {
                for name in ["one", "two"] {
                    qemu::img(&["snapshot", "-c", name, text(path)]);
                    self.fill(path, rng);
                }
                vec!["one", "two"]
            }
            Shape::Zeros => {
                let (at, len) = (size / 8, size / 4);
                let mut commands = vec![format!("write -z {at} {len}"), format!("discard {} {len}", size / 2)];
                if self.compat == "1.1" {
                    commands.push(format!("write -z -u {} {}", size - len, len));
                }
                qemu::io(path, &commands);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Puts all that an image can have into one that is compressed, where that is wanted.
    fn add_everything(self, path: &Path, rng: &mut Rng) -> Vec<&'static str> {
        let Shape::Everything(_) = self.shape else { return Vec::new() };
        let size = self.size();
        self.fill(path, rng);
        qemu::img(&["snapshot", "-c", "one", text(path)]);
        qemu::io(path, &[format!("write -z {} {}", size / 8, size / 4), format!("discard {} {}", size / 2, size / 8)]);
        self.fill(path, rng);
        if self.compat == "1.1" {
            qemu::img(&["bitmap", "--add", text(path), "daily"]);
            qemu::img(&["bitmap", "--add", "--disable", text(path), "idle"]);
        }
        qemu::img(&["snapshot", "-c", "two", text(path)]);
        self.fill(path, rng);
        vec!["one", "two"]
    }

    /// Lets QEMU write random data to random places.
    pub fn fill(self, path: &Path, rng: &mut Rng) {
        let random = path.with_extension("random");
        let mut bytes = vec![0; 64 << 10];
        rng.fill(&mut bytes);
        fs::write(&random, bytes).unwrap();
        let commands: Vec<String> = (0..8)
            .map(|_| {
                let (at, len) = place(self.size() / 512, 400, rng);
                format!("write -s {} {} {}", text(&random), at * 512, len * 512)
            })
            .collect();
        qemu::io(path, &commands);
    }
}

/// Random bytes, runs of one byte and zeros in turn.
fn compressible(size: u64, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = vec![0; size as usize];
    let mut at = 0;
    while at < bytes.len() {
        let end = (at + 1 + rng.below(100_000) as usize).min(bytes.len());
        match rng.below(3) {
            0 => rng.fill(&mut bytes[at..end]),
            1 => bytes[at..end].fill(rng.next() as u8),
            _ => {}
        }
        at = end;
    }
    bytes
}

/// A random place in `size` units, of at most `longest` units.
pub fn place(size: u64, longest: u64, rng: &mut Rng) -> (u64, u64) {
    let at = rng.below(size);
    (at, 1 + rng.below(longest.min(size - at)))
}
