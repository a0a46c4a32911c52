//! Free ports of this machine.

use std::io;

use chassis::transport::{Endpoint, SharedTransport};
use rand::RngExt as _;

use crate::model::{Addresses, RoleSpec, port_keys};

/// Where roles listen. Flink and its like have no authentication of their own, so no other machine
/// may reach them.
const HOST: &str = "127.0.0.1";

/// The range is below the ports that Linux gives to outgoing connections (from 32768): such a
/// connection would take a port between its choice and the moment when its process binds it.
const FIRST: u16 = 20_000;
const LAST: u16 = 32_767;

/// How often to try for each port. With half the range taken, all tries fail once in a million
/// times.
const TRIES: u32 = 20;

/// Chooses an address for each named port. All ports are held until the last one is chosen, so no
/// two are the same.
pub(super) async fn choose(
    transport: &SharedTransport,
    roles: &[RoleSpec],
) -> io::Result<Addresses> {
    let mut held = Vec::new();
    let mut addresses = Addresses::new();
    for key in port_keys(roles) {
        let (number, listener) = one(transport).await?;
        held.push(listener);
        addresses.insert(key, format!("{HOST}:{number}"));
    }
    Ok(addresses)
}

async fn one(transport: &SharedTransport) -> io::Result<(u16, chassis::transport::Incoming)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..TRIES {
        let number = rand::rng().random_range(FIRST..=LAST);
        match transport.listen(&Endpoint::Tcp(HOST.to_owned(), number)).await {
            Ok(listener) => return Ok((number, listener)),
            Err(error) => last = error,
        }
    }
    let text =
        format!("{TRIES} ports of {HOST} from {FIRST} to {LAST} were tried, the last one: {last}");
    Err(io::Error::new(last.kind(), text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use chassis::transport::OsTransport;

    use super::*;
    use crate::model;

    #[tokio::test]
    async fn what_is_chosen_can_be_bound() {
        let transport: SharedTransport = Arc::new(OsTransport);
        let mut role = model::tests::role("jobmanager");
        role.ports = vec!["rpc".into(), "rest".into()];
        let chosen = choose(&transport, &[role]).await.unwrap();
        for address in chosen.values() {
            let bound = transport.listen(&format!("tcp://{address}").parse().unwrap()).await;
            bound.unwrap();
        }
    }
}
