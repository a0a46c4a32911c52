//! `down` ends every process of a state directory, in order. What the applications have done is in
//! the record, and they go on with the next `up`, or on the other hosts where there are several.

mod share;

use std::time::Duration;

use chassis::backoff::Backoff;
use chassis::clock::{Clock as _, timeout};
use client::process_tree::{self, Process};
use proto::api::ListRequest;
use proto::{ApplicationRef, Reason};
use rustix::process::Signal;

use self::share::Others;
use crate::api::{Api, unclean_phases};
use crate::application::Named;
use crate::chosen::all_pages;
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::host::file::HostFile;
use crate::host::lock::{Holder, HostLock, holder};
use crate::host::service::{self, Reach};
use crate::host::{LIFECYCLE, SERVICES, STORE, contenders, up};
use crate::session::Session;
use crate::table::plural;
use crate::verb::wait::{self, For};
use crate::{ask, live};

/// How long processes of applications may take to end after SIGTERM.
const LEAVE: Duration = Duration::from_secs(3);

/// How long killed processes may take to be gone.
const GONE: Duration = Duration::from_secs(10);

/// How long a host may take to start a store again that has died.
const STORE_BACK: Duration = Duration::from_secs(10);

/// How many times an `up` is ended, one after another, before the verb gives up.
const ENDS: u32 = 3;

/// End the host and its services.
///
/// Where the deployment has several hosts, applications go on on the others: this host's contenders
/// and clusters are ended, nothing is cancelled, and nothing is asked. The last host that is there
/// is ended like an only one.
#[derive(Debug, clap::Args)]
#[command(before_help = "  mainspring down --cancel")]
pub(crate) struct DownArgs {
    /// End it although applications run; they go on with the next `up`
    #[arg(short, long)]
    yes: bool,

    /// Cancel all applications and wait until they are clean first
    #[arg(long)]
    cancel: bool,
}

pub(crate) async fn run(args: DownArgs, session: &Session) -> OrFailure<Exit> {
    session.only_here("down", "ends the host of this machine")?;
    let places = &session.places;
    if !places.state().exists() {
        session.out.talk(format!("nothing is there: {}", places.state().display()));
        return Ok(Exit::SUCCEEDED);
    }
    let reach = session.reach()?;
    let others = share::others(&reach, session).await?;
    match &others {
        Others::Live(hosts) => share::announce(hosts, args.cancel, &session.out),
        Others::None | Others::Unknown(_) => end_work(&args, &others, &reach, session).await?,
    }
    // This process holds the lock, so that no other one becomes `up` and starts again what is being
    // ended.
    let _lock = end_up_for_good(session).await?;
    if matches!(others, Others::Live(_)) {
        share::hand_over(&reach, session).await;
    }
    let killed = up::end_services(&reach).await?;
    let ended = end_marked(session).await?;
    HostFile::remove(&places.host_file())?;
    for name in SERVICES {
        let by_hand = service::find(places, name)?;
        if by_hand.is_empty() {
            let _ = std::fs::remove_file(places.service_socket(name));
        }
        for found in by_hand {
            session
                .out
                .talk(format!("{name} (pid {}) was started by hand and stays", found.process.pid));
        }
    }
    // The directory is removed only if it is empty, because sockets of processes that could not be
    // ended show where those are.
    let _ = std::fs::remove_dir(places.runtime());
    for name in killed {
        session.out.talk(format!("{name} did not leave and was killed"));
    }
    let others = if ended > 0 {
        format!("; ended {ended} processes of applications")
    } else {
        String::new()
    };
    session.out.talk(format!("down: {}{others}", places.state().display()));
    Ok(Exit::SUCCEEDED)
}

/// Cancels what runs, or has the operator agree to its end, and has the contenders of what is clean
/// ended.
async fn end_work(
    args: &DownArgs,
    others: &Others,
    reach: &Reach,
    session: &Session,
) -> OrFailure<()> {
    let api = Api::new(reach.channel(STORE), session.clock.clone());
    let Some(running) = unclean(&api, reach, session).await? else { return Ok(()) };
    if !running.is_empty() {
        let names: Vec<_> = running.iter().map(ToString::to_string).collect();
        let consequence = format!(
            "{} not clean ({})",
            plural(running.len() as u64, "application"),
            names.join(", ")
        );
        if args.cancel {
            others.allow_cancel()?;
            cancel_all(&api, &running, session).await?;
        } else {
            ask::sure(
                &format!(
                    "{consequence}: ending the host ends their processes; they go on with the next up"
                ),
                args.yes,
            )
            .map_err(|failure| {
                failure.help("--cancel cancels them first; --yes ends the host all the same")
            })?;
        }
    }
    if reach.is_ready(LIFECYCLE).await {
        let exact = |Named { id, generation }| Some(ApplicationRef { id, generation: generation? });
        if let Some(unclean) = unclean(&api, reach, session).await? {
            let unclean = unclean.into_iter().filter_map(exact).collect();
            contenders::end_all_but(&unclean, reach.channel(LIFECYCLE), &session.clock).await;
        }
    }
    Ok(())
}

/// The applications that are not clean; `None` where no store answers. A host that has nothing to
/// do leaves by itself, possibly between the question whether its store answers and the next one.
/// Where the host stays, its store has died and is started again, and is asked again: what runs
/// must not be ended without a word.
async fn unclean(api: &Api, reach: &Reach, session: &Session) -> OrFailure<Option<Vec<Named>>> {
    if !reach.is_ready(STORE).await {
        return Ok(None);
    }
    chassis::failpoint::hit("down.store-answers").await;
    let unanswered = match list_unclean(api).await {
        Ok(unclean) => return Ok(Some(unclean)),
        Err(failure) => failure,
    };
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(200));
    let end = session.clock.boot() + STORE_BACK;
    while !reach.is_ready(STORE).await {
        if matches!(holder(&session.places.host_lock())?, Holder::Free) {
            return Ok(None);
        }
        if session.clock.boot() > end {
            return Err(unanswered);
        }
        session.clock.sleep(backoff.next_delay()).await;
    }
    list_unclean(api).await.map(Some)
}

async fn list_unclean(api: &Api) -> OrFailure<Vec<Named>> {
    let request = ListRequest { phases: unclean_phases(), ..ListRequest::default() };
    let found = all_pages(api, request, usize::MAX).await?.applications;
    let named = found.into_iter().filter_map(|application| {
        Some(Named::exactly(application.application_id.parse().ok()?, application.generation))
    });
    Ok(named.collect())
}

async fn cancel_all(api: &Api, running: &[Named], session: &Session) -> OrFailure<()> {
    session.keep_host().await;
    for named in running {
        session.out.talk(format!("cancelling {named}"));
        let refused = live::watch::cancel(
            api.clone(),
            session.clock.clone(),
            named.clone(),
            "mainspring down",
        )
        .await;
        // The application had ended by itself, so that it is only to be waited for.
        tracing::debug!("{named}: {refused:?}");
    }
    for named in running {
        wait::met(named, &For::Clean, None, session).await?;
    }
    Ok(())
}

/// Ends `up` and takes its lock. An `up` that was just being started is ended as well.
async fn end_up_for_good(session: &Session) -> OrFailure<HostLock> {
    for _ in 0..ENDS {
        end_up(session).await?;
        if let Some(lock) = HostLock::take(&session.places.host_lock(), &session.clock).await? {
            return Ok(lock);
        }
    }
    let lock = session.places.host_lock();
    let text = format!(
        "another up has {} again and again, or one that cannot be seen from here",
        lock.display()
    );
    Err(Failure::new(Exit::REFUSED, Reason::HostNotReachable, text).help(
        "end what runs mainspring on this directory, in other containers too, then try again",
    ))
}

/// Ends `up`, whose services this process ends next. The lock may name a number that is not this
/// machine's `up`: that of an `up` in another container, or of one that was killed and whose
/// successor has not written its own number yet.
async fn end_up(session: &Session) -> OrFailure<()> {
    let Holder::Held(Some(pid)) = holder(&session.places.host_lock())? else { return Ok(()) };
    let Some(process) = Process::of(pid).filter(|process| service::is_up(process.pid)) else {
        return Ok(());
    };
    service::end(&session.clock, &process).await;
    Ok(())
}

/// Ends the processes that carry an owner mark of this state directory: contenders, main()s,
/// clusters. Answers how many there were.
async fn end_marked(session: &Session) -> OrFailure<usize> {
    let mark = session.places.state_mark();
    let mine = || process_tree::marked(|owner| owner.state == mark);
    let found = mine()?;
    for (process, _) in &found {
        process.signal(Signal::TERM);
    }
    let gone = async {
        for (process, _) in &found {
            service::ended(&session.clock, process).await;
        }
    };
    // Processes that do not react are killed, and so are those that a dying parent has just
    // started.
    let _ = timeout(&session.clock, LEAVE, gone).await;
    let end = session.clock.boot() + GONE;
    loop {
        let left = mine()?;
        if left.is_empty() {
            return Ok(found.len());
        }
        if session.clock.boot() > end {
            let pids: Vec<_> = left
                .iter()
                .map(|(process, owner)| format!("{} ({})", process.pid, owner.application))
                .collect();
            let text = format!("these processes do not end: {}", pids.join(", "));
            return Err(Failure::new(Exit::REFUSED, Reason::TreeAlive, text));
        }
        for (process, _) in &left {
            process.signal(Signal::KILL);
        }
        session.clock.sleep(Duration::from_millis(20)).await;
    }
}
