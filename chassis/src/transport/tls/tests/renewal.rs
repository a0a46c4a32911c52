//! Certificates that are renewed while their process runs.

use super::super::kept::LOOK_AGAIN;
use super::*;

/// A server, and a client of the CA that issued the server's certificates anew.
async fn renewed() -> (Place, Incoming, Tls) {
    let place = Place::new();
    let server = place.server().await;
    let next = Authority::new("the next CA");
    let own = next.issue(&["127.0.0.1"], &BOTH, None);
    let successor = client(&place, "successor", &[&next], &own);
    next.equip(place.directory.path());
    (place, server, successor)
}

#[tokio::test]
async fn renewed_files_take_effect_without_a_restart() {
    let (place, mut server, successor) = renewed().await;
    // The files were looked at a moment ago.
    refused(&mut server, &successor).await;
    place.clock.advance(LOOK_AGAIN);
    converse(connected(&mut server, &successor).await).await;
}

#[tokio::test]
async fn a_connection_outlives_the_certificates_that_it_began_with() {
    let place = Place::new();
    let mut server = place.server().await;
    let standing = connected(&mut server, &place.tls()).await;
    Authority::new("the next CA").equip(place.directory.path());
    place.clock.advance(LOOK_AGAIN);
    converse(standing).await;
}

#[tokio::test]
async fn a_client_takes_up_renewed_files_too() {
    let place = Place::new();
    let mut server = place.server().await;
    let next = Authority::new("the next CA");
    let own = next.issue(&["127.0.0.1"], &BOTH, None);
    let long_lived = client(&place, "long-lived", &[&next], &own);
    refused(&mut server, &long_lived).await;
    place.authority.equip(&place.beside("long-lived"));
    place.clock.advance(LOOK_AGAIN);
    converse(connected(&mut server, &long_lived).await).await;
}

#[tokio::test]
async fn files_that_are_broken_or_of_no_use_leave_the_earlier_certificates() {
    let place = Place::new();
    let mut server = place.server().await;
    let standing = place.tls();
    let directory = place.directory.path();
    let key = std::fs::read_to_string(directory.join("tls.key")).unwrap();
    let expired = Some(place.clock.wall() - Duration::from_secs(60));
    let of_a_client = [Purpose::ClientAuth];
    let ca = place.authority.pem.clone();
    for issued in [
        Issued { certificate: "half of a certif".to_owned(), key },
        place.authority.issue(&["127.0.0.1"], &BOTH, expired),
        place.authority.issue(&[], &of_a_client, None),
    ] {
        write(directory, &ca, &issued);
        place.clock.advance(LOOK_AGAIN);
        converse(connected(&mut server, &standing).await).await;
    }
    let next = Authority::new("the next CA");
    next.equip(directory);
    let successor = client(&place, "successor", &[&next], &next.issue(&[], &BOTH, None));
    place.clock.advance(LOOK_AGAIN);
    converse(connected(&mut server, &successor).await).await;
}

#[tokio::test]
async fn a_certificate_for_later_is_taken_up_when_its_time_comes() {
    let place = Place::new();
    let mut server = place.server().await;
    let next = Authority::new("the next CA");
    let successor = client(&place, "successor", &[&next], &next.issue(&[], &BOTH, None));
    // The issuer's clock is ahead of the server's.
    let ahead = Duration::from_secs(300);
    let begins = place.clock.wall() + ahead;
    let issued = next.issue_from(&["127.0.0.1"], &BOTH, Some(begins), None);
    write(place.directory.path(), &next.pem, &issued);
    place.clock.advance(LOOK_AGAIN);
    refused(&mut server, &successor).await;
    place.clock.advance(ahead);
    converse(connected(&mut server, &successor).await).await;
}
