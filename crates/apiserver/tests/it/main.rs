//! The server as its clients see it: kube-rs in the same process, a store on disk, TLS.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as its tests do")]

mod door;
mod kube_rs;
mod matrix;
mod objects;
mod power;
mod replay;
mod restart;
mod robust;
mod support;
mod tls;
mod watches;
