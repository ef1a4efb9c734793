//! Who comes in and how: encryption, limits, what stands in front, and what finds out whether it does harm.

mod doctor;
mod limits;
mod loris;
mod nginx;
mod tls;
