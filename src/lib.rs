//! What to change in a guest, and why: plans, injectors, facts about guests. How to reach a path inside an image is
//! [`imgraft_vfs`]'s affair.

pub mod cli;
pub mod commands;
pub mod config_drive;
pub mod crypt;
pub mod diff;
pub mod failure;
pub mod guest;
pub mod inject;
pub mod manifest;
pub mod net;
mod object;
#[cfg(test)]
mod oracle;
pub mod plan;
pub mod report;
pub mod secret;
mod yaml;
