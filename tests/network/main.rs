//! The network compiler: every description by every renderer, as it is known to be right, and as the programs read it that are to.

mod backend;
mod cases;
mod cloud_init;
mod defaults;
mod goldens;
mod ifupdown;
mod ifupdown_ng;
mod merged;
mod netplan;
mod network_manager;
mod oracle;
mod oracles;
mod random;
mod refusals;
mod rivals;
mod routers;
mod texts;
mod unmanaged;
mod wicked;
