//! Fences as types: the number that a writer holds against every writer that came after it.

use serde::{Deserialize, Serialize};

use crate::fences as wire;
use crate::id::{ApplicationRef, Epoch, Generation, Incarnation, InvalidId};

/// What the leader of an application writes with.
///
/// Every decision of a leader carries this fence, and the store compares the epoch inside the
/// write: once a later leader has begun, no write of an earlier one commits, however late the write
/// arrives. Two processes may therefore believe for a moment that they lead, and the record still
/// has one writer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EpochFence {
    /// The application whose record is written.
    pub application: ApplicationRef,
    /// The leadership: writes commit only while no higher epoch has begun.
    pub epoch: Epoch,
}

/// What the cluster of an application writes with.
///
/// A cluster has a fence of its own, so that a job can end while no contender leads. A superseded
/// cluster that still runs cannot end a job of the cluster that replaced it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IncarnationFence {
    /// The application whose record is written.
    pub application: ApplicationRef,
    /// The life of the cluster: writes commit only while this is the current incarnation.
    pub incarnation: Incarnation,
}

/// The error for a required part of a message that is missing.
fn absent(kind: &'static str) -> InvalidId {
    InvalidId { kind, value: String::new(), rule: "it has to be set" }
}

impl TryFrom<wire::ApplicationRef> for ApplicationRef {
    type Error = InvalidId;

    fn try_from(wire: wire::ApplicationRef) -> Result<Self, InvalidId> {
        if wire.generation == 0 {
            return Err(InvalidId {
                kind: "generation",
                value: "0".into(),
                rule: "a number from 1",
            });
        }
        Ok(Self { id: wire.application_id.parse()?, generation: Generation(wire.generation) })
    }
}

impl TryFrom<Option<wire::ApplicationRef>> for ApplicationRef {
    type Error = InvalidId;

    fn try_from(wire: Option<wire::ApplicationRef>) -> Result<Self, InvalidId> {
        wire.ok_or_else(|| absent("application"))?.try_into()
    }
}

impl From<ApplicationRef> for wire::ApplicationRef {
    fn from(application: ApplicationRef) -> Self {
        Self { application_id: application.id.into(), generation: application.generation.0 }
    }
}

impl TryFrom<Option<wire::EpochFence>> for EpochFence {
    type Error = InvalidId;

    fn try_from(wire: Option<wire::EpochFence>) -> Result<Self, InvalidId> {
        let wire = wire.ok_or_else(|| absent("fence"))?;
        if wire.epoch == 0 {
            return Err(InvalidId { kind: "epoch", value: "0".into(), rule: "a number from 1" });
        }
        Ok(Self { application: wire.application.try_into()?, epoch: Epoch(wire.epoch) })
    }
}

impl From<EpochFence> for wire::EpochFence {
    fn from(fence: EpochFence) -> Self {
        Self { application: Some(fence.application.into()), epoch: fence.epoch.0 }
    }
}

impl TryFrom<Option<wire::IncarnationFence>> for IncarnationFence {
    type Error = InvalidId;

    fn try_from(wire: Option<wire::IncarnationFence>) -> Result<Self, InvalidId> {
        let wire = wire.ok_or_else(|| absent("fence"))?;
        if wire.incarnation == 0 {
            return Err(InvalidId {
                kind: "incarnation",
                value: "0".into(),
                rule: "a number from 1",
            });
        }
        Ok(Self {
            application: wire.application.try_into()?,
            incarnation: Incarnation(wire.incarnation),
        })
    }
}

impl From<IncarnationFence> for wire::IncarnationFence {
    fn from(fence: IncarnationFence) -> Self {
        Self { application: Some(fence.application.into()), incarnation: fence.incarnation.0 }
    }
}
