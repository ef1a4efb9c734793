//! End to end: through HTTP, WIT and the program itself only.

mod admission;
mod browser;
mod command;
mod component;
mod crowd;
mod expiry;
mod farewell;
mod faults;
mod generations;
mod groups;
mod house;
mod input;
mod jobs;
mod limits;
mod live;
mod providers;
mod races;
mod repeats;
mod replicas;
mod requests;
mod resume;
mod signals;
