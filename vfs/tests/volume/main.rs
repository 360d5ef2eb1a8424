//! Partition tables and signatures: compared with the tools that made them, and with tables that no tool makes.

mod crafted;
mod damage;
mod oracle;
mod signatures;
mod tables;
