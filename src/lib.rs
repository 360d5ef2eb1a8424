//! What to change in a guest, and why: plans, injectors, facts about guests. How to reach a path inside an image is
//! [`imgraft_vfs`]'s affair.

pub mod crypt;
pub mod guest;
pub mod inject;
#[cfg(test)]
mod oracle;
pub mod secret;
