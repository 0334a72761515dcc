//! Turns every .proto file of this folder into Rust, without `protoc`: protox compiles, tonic-prost generates.
//!
//! Clients' and servers' transports are left out: services run over a `Host`, in both worlds.

use std::error::Error;

/// The files, from this folder.
const FILES: &[&str] = &[
    "anyedge/raft/v1/raft.proto",
    "anyedge/table/v1/object.proto",
    "anyedge/table/v1/command.proto",
    "anyedge/control/v1/control.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=anyedge");
    let descriptors = protox::compile(FILES, ["."])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
