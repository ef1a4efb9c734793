//! End to end: through HTTP, WIT and the program itself only.

#![forbid(unsafe_code)]

mod access;
mod admission;
mod browser;
mod command;
mod component;
mod crowd;
mod departures;
mod door;
mod embed;
mod expiry;
mod farewell;
mod faults;
mod fuzz;
mod generations;
mod groups;
mod house;
mod input;
mod jobs;
mod limits;
mod live;
mod openapi;
mod providers;
mod races;
mod repeats;
mod replicas;
mod requests;
mod resume;
mod signals;
mod subscribers;
mod watch;
