//! End to end against real servers. One binary, so that it links once.
#![cfg(feature = "cli")]

mod sink;
