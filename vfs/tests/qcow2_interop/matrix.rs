//! One test for every shape.

use crate::case::{Case, Shape};
use crate::{qemu, round};

fn matrix(shape: Shape) {
    if qemu::available() {
        Case::all(shape).into_iter().for_each(round::run);
    }
}

#[test]
fn plain() {
    matrix(Shape::Plain);
}

#[test]
fn compressed() {
    matrix(Shape::Compressed("zlib"));
}

#[test]
fn compressed_by_zstd() {
    matrix(Shape::Compressed("zstd"));
}

#[test]
fn preallocated_metadata() {
    matrix(Shape::Preallocated("metadata"));
}

#[test]
fn preallocated_falloc() {
    matrix(Shape::Preallocated("falloc"));
}

#[test]
fn preallocated_full() {
    matrix(Shape::Preallocated("full"));
}

#[test]
fn snapshots() {
    matrix(Shape::Snapshots);
}

#[test]
fn zeros() {
    matrix(Shape::Zeros);
}

#[test]
fn odd_sizes() {
    matrix(Shape::OddSize);
}

#[test]
fn lazy_refcounts() {
    matrix(Shape::LazyRefcounts);
}

#[test]
fn bitmaps() {
    matrix(Shape::Bitmaps);
}

#[test]
fn everything() {
    matrix(Shape::Everything("zlib"));
}

#[test]
fn everything_by_zstd() {
    matrix(Shape::Everything("zstd"));
}
