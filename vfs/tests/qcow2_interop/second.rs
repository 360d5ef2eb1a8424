//! A second reader that shares no code with QEMU or with us: imago.

use imago::file::File;
use imago::qcow2::Qcow2;
use imago::{FormatAccess, FormatDriverBuilder, PermissiveImplicitOpenGate};
use std::path::Path;

/// Asserts that imago reads the disk as `model`, where it can: it knows no zstd and no extended L2 entries.
pub fn agrees(image: &Path, model: &[u8], what: &str) {
    let gate = PermissiveImplicitOpenGate::default();
    let disk = match Qcow2::<File>::builder_path(image).open(gate) {
        Ok(disk) => FormatAccess::new(disk),
        Err(error) => {
            let error = error.to_string();
            assert!(what.contains("zstd") || what.contains("Extended") || what.contains("extended"), "{what}: {error}");
            return;
        }
    };
    // It reads whole sectors.
    let size = model.len() / 512 * 512;
    let mut seen = vec![0xaa; size];
    for (index, chunk) in seen.chunks_mut(1 << 20).enumerate() {
        disk.read(chunk, (index as u64) << 20).unwrap_or_else(|error| panic!("{what}: imago: {error}"));
    }
    assert!(seen == model[..size], "{what}: imago reads something else");
}
