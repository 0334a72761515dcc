//! The words of the control plane: types and services generated from the .proto files beside this folder.
//!
//! `raft`: what controllers tell each other; `table`: objects and commands of the route table; `control`: the API;
//! `tunnel`: packets in a stream; `status`, `health` and `reflection`: what every gRPC server tells. Nothing here decides
//! anything; who speaks to whom over which transport stands in `ccn`. A message of these types is input from a network: it is checked where it is read.
//!
//! Generated code carries no documentation of its own: the .proto files say what each field means.

/// The messages of Raft.
#[expect(
    missing_docs,
    clippy::all,
    reason = "generated; the .proto file says what each means"
)]
pub mod raft {
    tonic::include_proto!("anyedge.raft.v1");
}

/// Objects and commands of the route table.
pub mod table {
    /// Version 1.
    #[expect(
        missing_docs,
        clippy::all,
        reason = "generated; the .proto files say what each means"
    )]
    pub mod v1 {
        tonic::include_proto!("anyedge.table.v1");
    }
}

/// The control API.
pub mod control {
    /// Version 1.
    #[expect(
        missing_docs,
        clippy::all,
        reason = "generated; the .proto file says what each means"
    )]
    pub mod v1 {
        tonic::include_proto!("anyedge.control.v1");
    }
}

/// Packets of a CCN link inside a gRPC stream.
#[expect(
    missing_docs,
    reason = "generated; the .proto file says what each means"
)]
pub mod tunnel {
    tonic::include_proto!("anyedge.tunnel.v1");
}

/// What a status has to say beside its code and message.
#[expect(
    missing_docs,
    reason = "generated; the .proto files say what each means"
)]
pub mod status {
    tonic::include_proto!("google.rpc");
}

/// The gRPC health checking protocol.
#[expect(
    missing_docs,
    clippy::all,
    reason = "generated; the .proto file says what each means"
)]
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// The gRPC reflection protocol.
#[expect(
    missing_docs,
    clippy::all,
    reason = "generated; the .proto file says what each means"
)]
pub mod reflection {
    tonic::include_proto!("grpc.reflection.v1");
}

/// All .proto files of this crate as an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("descriptors");
