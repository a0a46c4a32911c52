//! The contract between all processes: generated types of the `.proto` files under `mainspring/`,
//! the identities inside them as newtypes, fences as types, and the one list of error reasons. This
//! crate imports no other crate of mainspring.

pub mod fence;
pub mod id;
pub mod place;
pub mod problem;
pub mod reason;
pub mod target;
pub mod uri;

pub use fence::{EpochFence, IncarnationFence};
pub use id::{
    ApplicationId, ApplicationRef, Digest, Epoch, Generation, Incarnation, InvalidId, JobId,
    TriggerId,
};
pub use place::{Place, PlaceUid};
pub use problem::Problem;
pub use reason::Reason;
/// What a caller does about a refusal: the first thing that a [`Problem`] says.
pub use tonic::Code;
pub use uri::Uri;

/// The encoded `FileDescriptorSet` of every package, comments included: for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mainspring.bin"));

/// The messages of `mainspring.api.v1` and what they refer to, without comments: for the JSON
/// mapping.
pub const MESSAGE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/messages.bin"));

/// The version of the protocol between mainspring's own processes. A process works with peers of
/// this version and of the previous one.
pub const PROTOCOL: u32 = 1;

/// The generated types, one module per package. The comments of the `.proto` files are their
/// documentation.
#[allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub)]
mod generated {
    pub mod mainspring {
        pub mod api {
            pub mod v1 {
                tonic::include_proto!("mainspring.api.v1");
            }
        }
        pub mod artifact {
            pub mod v1 {
                tonic::include_proto!("mainspring.artifact.v1");
            }
        }
        pub mod election {
            pub mod v1 {
                tonic::include_proto!("mainspring.election.v1");
            }
        }
        pub mod engine {
            pub mod v1 {
                tonic::include_proto!("mainspring.engine.v1");
            }
        }
        pub mod fence {
            pub mod v1 {
                tonic::include_proto!("mainspring.fence.v1");
            }
        }
        pub mod job {
            pub mod v1 {
                tonic::include_proto!("mainspring.job.v1");
            }
        }
        pub mod jobgraph {
            pub mod v1 {
                tonic::include_proto!("mainspring.jobgraph.v1");
            }
        }
        pub mod lifecycle {
            pub mod v1 {
                tonic::include_proto!("mainspring.lifecycle.v1");
            }
        }
        pub mod runner {
            pub mod v1 {
                tonic::include_proto!("mainspring.runner.v1");
            }
        }
        pub mod telemetry {
            pub mod v1 {
                tonic::include_proto!("mainspring.telemetry.v1");
            }
        }
        pub mod tether {
            pub mod v1 {
                tonic::include_proto!("mainspring.tether.v1");
            }
        }
    }
}

pub use generated::mainspring::{
    api::v1 as api, artifact::v1 as artifact, election::v1 as election, engine::v1 as engine,
    fence::v1 as fences, job::v1 as job, jobgraph::v1 as jobgraph, lifecycle::v1 as lifecycle,
    runner::v1 as runner, telemetry::v1 as telemetry, tether::v1 as tether,
};
