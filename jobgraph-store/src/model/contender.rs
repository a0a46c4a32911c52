//! What is known of an application's contenders beyond which one leads. That a contender gave up is
//! shown where people look: in the application.

use proto::{Reason, api};

use super::event::Telling;
use super::{Draft, cut};

/// The condition that is false while a contender has given up.
const CONDITION: &str = "ContendersRun";

/// The longest last word of a contender, in bytes: the way out has to have room behind it.
const WHY_BYTES: usize = 512;

/// Records that the contender of this index gave up and why, or (`None`) that it is about to be
/// started. Once the application is clean, the end of a contender is no news.
pub fn tell(draft: &mut Draft, number: u64, gave_up: Option<&str>) {
    let name = format!("runner-{number}");
    let conditions = &draft.dossier.state.application().conditions;
    let known = conditions.iter().find(|known| known.r#type == CONDITION).cloned();
    let is_false =
        known.as_ref().is_some_and(|known| known.status() == api::ConditionStatus::False);
    let Some(why) = gave_up else {
        // What another contender met stays.
        if is_false && known.is_some_and(|known| known.message.starts_with(&format!("{name} "))) {
            draft.condition(CONDITION, api::ConditionStatus::True, "", "");
        }
        return;
    };
    if draft.dossier.is_clean() {
        return;
    }
    let application = &draft.dossier.application;
    let message = format!(
        "{name} gave up and is not started again: {}; help: correct that, then mainspring down and any verb start it again, \
         and so does a new wish, such as mainspring cancel {application}",
        cut(why.replace("; help: ", "; "), WHY_BYTES)
    );
    if is_false && known.is_some_and(|known| known.message == message) {
        return;
    }
    let reason = Reason::ContenderGaveUp.as_str();
    draft.condition(CONDITION, api::ConditionStatus::False, reason, &message);
    let telling = Telling::new("warning", message).reason(reason).with("contender", name);
    draft.tell_from(telling, "lifecycle".into(), 0);
}
