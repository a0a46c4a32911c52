//! How a call enters: its place among the calls of this main(), and the id of its job where the
//! program asks for the id before the graph exists.

use std::sync::{Arc, Mutex, PoisonError};

use proto::{JobId, Reason, api, jobgraph};

use super::MainService;
use super::calls::{Calls, Numbered, OtherName};
use crate::error::PortError;
use crate::ports::PortResult;

/// A call that is in flight. The call leaves when this value is dropped.
#[derive(Debug)]
pub struct Entered {
    calls: Arc<Mutex<Calls>>,
    call_id: String,
    /// The call's position among the calls of this main(), from 0.
    pub ordinal: u32,
    /// The call's position among the calls of its name, from 0.
    pub occurrence: u32,
    /// Whether the call overlapped with another one, or an earlier call of this attempt did.
    pub overlapped: bool,
    /// The id that the call was told before its graph existed.
    pub(super) told: Option<JobId>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).leave(&self.call_id);
    }
}

impl MainService {
    /// Enters a call: from here on the call has its ordinal and overlaps with others. Refuses an
    /// unnamed call that overlaps.
    pub fn enter(&self, call_id: &str, name: &str) -> PortResult<Entered> {
        check_call_id(call_id)?;
        let mut calls = self.calls();
        let (numbered, overlapped) =
            calls.enter(call_id, name).map_err(|known| other_name(call_id, &known))?;
        let Numbered { ordinal, occurrence, .. } = numbered;
        let entered = Entered {
            told: calls.told(call_id),
            calls: self.calls.clone(),
            call_id: call_id.to_owned(),
            ordinal,
            occurrence,
            overlapped,
        };
        drop(calls);
        check_named(name, ordinal, overlapped)?;
        Ok(entered)
    }

    /// The id that the job of a call will have, and the call's ordinal, before the graph of the job
    /// exists.
    pub async fn assign_job(
        &self,
        call_id: &str,
        name: &str,
        description: Option<api::GraphDescription>,
    ) -> PortResult<(JobId, u32)> {
        check_call_id(call_id)?;
        self.check_open()?;
        let (numbered, overlapped) =
            self.calls().assign(call_id, name).map_err(|known| other_name(call_id, &known))?;
        check_named(name, numbered.ordinal, overlapped)?;
        let equal_names_allowed = self.equal_names_allowed();
        let request = jobgraph::FindJobRequest {
            fence: None,
            call_id: call_id.to_owned(),
            name: numbered.name,
            ordinal: numbered.ordinal,
            overlapped,
            equal_names_allowed,
            occurrence: equal_names_allowed.then_some(numbered.occurrence),
            description,
        };
        let shared = &self.shared;
        let find = || shared.ports.record.find_job(&shared.fence, request.clone());
        let job = shared.patiently("find a job", find).await?;
        // The id that was told first stands, because a graph may carry it already.
        let job = self.calls().tell(call_id, job);
        Ok((job, numbered.ordinal))
    }
}

fn check_call_id(call_id: &str) -> PortResult<()> {
    if !call_id.is_empty() && call_id.len() <= 128 {
        return Ok(());
    }
    Err(PortError::refused(Reason::RequestInvalid, "call_id has to have 1 to 128 characters"))
}

fn check_named(name: &str, ordinal: u32, overlapped: bool) -> PortResult<()> {
    if !name.is_empty() || !overlapped {
        return Ok(());
    }
    let text = format!(
        "the unnamed execute() number {ordinal} overlaps with another one, so that their order may differ when main() \
         is executed again: name your jobs"
    );
    Err(PortError::refused(Reason::UnnamedJobOverlaps, text))
}

fn other_name(call_id: &str, OtherName(known): &OtherName) -> PortError {
    let text =
        format!("call id {call_id:?} is that of a job named {known:?}: choose one per execute()");
    PortError::refused(Reason::RequestInvalid, text)
}
