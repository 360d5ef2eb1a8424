//! How far long work is, on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// A bar on standard error, where that is a terminal; nothing elsewhere, and nothing while the copy is quick.
#[derive(Debug)]
pub(super) struct Copying(ProgressBar);

impl Copying {
    pub(super) fn new() -> Self {
        Self(bar("copying {bar:30} {bytes}/{total_bytes} {eta}"))
    }

    /// Shows that `done` of `size` bytes are copied.
    pub(super) fn tell(&self, done: u64, size: u64) {
        if self.0.elapsed() < PATIENCE {
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

/// The same for drives, of which it is known how many they are.
#[derive(Debug)]
pub(super) struct Making {
    bar: ProgressBar,
    count: u64,
}

impl Making {
    pub(super) fn new(count: usize) -> Self {
        Self { bar: bar("making drives {bar:30} {pos}/{len} {eta}"), count: count as u64 }
    }

    /// Shows that so many are made.
    pub(super) fn tell(&self, done: usize) {
        if self.bar.elapsed() < PATIENCE {
            return;
        }
        self.bar.set_length(self.count);
        self.bar.set_position(done as u64);
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Quick work shows nothing.
const PATIENCE: Duration = Duration::from_millis(300);

fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
