//! Turns every .proto file of this folder into Rust, without `protoc`: protox compiles, tonic-prost generates.
//!
//! Clients' and servers' transports are left out: services run over a `Host`, in both worlds. The description of
//! all files is kept too: the reflection service answers from it.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

use prost::Message as _;

/// The files, from this folder.
const FILES: &[&str] = &[
    "anyedge/raft/v1/raft.proto",
    "anyedge/table/v1/object.proto",
    "anyedge/table/v1/command.proto",
    "anyedge/control/v1/control.proto",
    "anyedge/tunnel/v1/tunnel.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
    "grpc/health/v1/health.proto",
    "grpc/reflection/v1/reflection.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=anyedge");
    println!("cargo:rerun-if-changed=google");
    println!("cargo:rerun-if-changed=grpc");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_transport(false)
        .btree_map(".google.rpc")
        .bytes(".anyedge.raft.v1")
        .bytes(".anyedge.tunnel.v1")
        .bytes(".anyedge.control.v1.SnapshotChunk")
        .compile_fds(descriptors)?;
    Ok(())
}
