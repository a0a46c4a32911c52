//! Law 6: who is told of which hosts.

use super::stage::{Stage, VERSION, are, attend, listed, place};
use crate::election::laws::rig::{Verdict, so};

pub(super) async fn all_hosts_are_told_by_name(stage: &Stage) -> Verdict {
    let hosts = stage.open().await;
    listed(&hosts, &[]).await?;
    let mut seats = Vec::new();
    // The order of arrival is not that of the names.
    for (uid, name) in (1..).zip(["b", "c.example", "a"]) {
        seats.push(attend(&hosts, place(name, uid)).await?);
    }
    let all = ["a", "b", "c.example"];
    listed(&hosts, &all).await?;
    for seat in &mut seats {
        stage.hears(seat, |told| are(told, &all)).await?;
        stage.sees(seat, &all).await?;
    }
    Ok(())
}

pub(super) async fn each_change_is_told(stage: &Stage) -> Verdict {
    let hosts = stage.open().await;
    let mut seat = attend(&hosts, place("b", 2)).await?;
    stage.hears(&mut seat, |told| are(told, &["b"])).await?;
    let first = attend(&hosts, place("a", 1)).await?;
    stage.hears(&mut seat, |told| are(told, &["a", "b"]) && told[0].version == VERSION).await?;
    let again = hosts.attend(place("a", 1), "0.2.0".to_owned()).await;
    let again = again.map_err(|error| error.to_string())?;
    drop(first);
    stage.hears(&mut seat, |told| are(told, &["a", "b"]) && told[0].version == "0.2.0").await?;
    let quiet = stage.heard(&mut seat).await;
    so(quiet.is_none(), format!("told without a change: {quiet:?}"))?;
    again.leave().await.map_err(|error| error.to_string())?;
    stage.hears(&mut seat, |told| are(told, &["b"])).await
}
