//! How far a long copy is, on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// A bar on standard error, where that is a terminal; nothing elsewhere, and nothing while the copy is quick.
#[derive(Debug)]
pub(super) struct Copying(ProgressBar);

impl Copying {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("copying {bar:30} {bytes}/{total_bytes} {eta}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Shows that `done` of `size` bytes are copied.
    pub(super) fn tell(&self, done: u64, size: u64) {
        if self.0.elapsed() < Duration::from_millis(300) {
            return;
        }
        self.0.set_length(size);
        self.0.set_position(done);
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
