//! qcow2 against QEMU: every version, cluster size and refcount width, in every shape an image can have.

mod bitmaps;
mod case;
mod edges;
mod matrix;
mod resize;
mod round;
mod second;

#[path = "../qemu/mod.rs"]
mod qemu;
