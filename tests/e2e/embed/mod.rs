//! The component in hosts that are not ours.

mod browser;
mod contract;
mod edge;
mod node;
mod python;
mod rust;
mod traces;
