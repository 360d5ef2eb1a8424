//! The binary from outside: on real images, by the verdict of tools that are not ours.

mod backing;
mod borrowed;
mod compat;
mod config_drive_create;
mod config_drive_limits;
mod config_drive_look;
mod config_drive_readers;
mod destination;
mod device;
mod flips;
mod formats;
mod idempotence;
mod inspect;
mod interrupted;
mod locks;
mod main_job;
mod nbd;
mod order;
mod powered_off;
mod refusals;
mod report;
mod selinux;
mod serve;
mod support;
mod uml;
mod undo;
