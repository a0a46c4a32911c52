//! `certs issue` makes a directory with a certificate for each process that needs one.

use std::net::IpAddr;
use std::path::Path;

use chassis::clock::Clock as _;
use chassis::transport::NetworkArgs;

use super::authority::{Authority, Issued, Wish, unwritable};
use super::files::{self, CA, CA_CERTIFICATE, CERTIFICATE, KEY};
use crate::exit::Exit;
use crate::failure::{Failure, OrFailure};
use crate::session::Session;

/// The hosts by which a service is reached on its own machine.
const OWN_MACHINE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The longest common name of a certificate, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Issue certificates, or renew them
///
/// Makes DIR/NAME with ca.crt, tls.crt and tls.key for each NAME: what a process takes by --tls. A
/// service's certificate is for its NAME, for what --san adds, and for the loopback interface. Done
/// again, a running process takes the new files up by itself.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "  mainspring certs issue host-a.example host-b.example\n  mainspring certs issue store --san 10.0.0.7 --san store.example\n  mainspring certs issue laptop --client --days 30"
)]
pub(super) struct IssueArgs {
    /// The host that a service is reached by, or the name of a client
    #[arg(value_name = "NAME", required = true, value_parser = host)]
    names: Vec<String>,

    /// A further host name or address of the service; may be repeated
    #[arg(long = "san", value_name = "HOST", value_parser = host, conflicts_with = "client")]
    hosts: Vec<String>,

    /// How many days they are valid
    #[arg(
        long,
        value_name = "N",
        default_value_t = 365,
        value_parser = clap::value_parser!(u32).range(1..=3_653)
    )]
    days: u32,

    /// Certificates of clients, which no service can use
    #[arg(long)]
    client: bool,
}

pub(super) fn run(args: IssueArgs, directory: &Path, session: &Session) -> OrFailure<Exit> {
    if args.names.len() > 1 && !args.hosts.is_empty() {
        return Err(Failure::usage("--san is for the certificate of one NAME")
            .help("issue each of the names in a command of its own"));
    }
    let authority = Authority::load(directory)?;
    for name in &args.names {
        let own = directory.join(name);
        let issued = authority.issue(Wish {
            name,
            hosts: if args.client { Vec::new() } else { hosts(name, &args.hosts) },
            is_client: args.client,
            days: args.days,
            now: session.clock.wall(),
        })?;
        let renews = own.join(CERTIFICATE).exists();
        write(&own, &authority.pem, &issued).map_err(unwritable)?;
        check(&own, session)?;
        let done = if renews { "renewed" } else { "issued" };
        session.out.talk(format!("{done} {}", own.display()));
    }
    Ok(Exit::SUCCEEDED)
}

/// The key comes before the certificate: a process that looks in between finds that the two do not
/// fit, keeps its earlier ones, and looks again.
fn write(own: &Path, ca: &str, issued: &Issued) -> std::io::Result<()> {
    files::make_directory(own)?;
    files::put(&own.join(CA_CERTIFICATE), ca, files::OPEN)?;
    files::put(&own.join(KEY), &issued.key, files::PRIVATE)?;
    files::put(&own.join(CERTIFICATE), &issued.certificate, files::OPEN)
}

/// Has the files read as a process reads them: a CA's key that is not of its certificate shows here
/// and not on the first host.
fn check(own: &Path, session: &Session) -> OrFailure<()> {
    let tls = std::path::absolute(own)?;
    let network = NetworkArgs { tls: Some(tls), insecure_network: false };
    match network.examine(&session.clock) {
        Some(Err(error)) => Err(Failure::usage(format!("what was issued is of no use: {error}"))
            .help("mainspring certs show tells of the CA; mainspring certs init makes a new one")),
        _ => Ok(()),
    }
}

fn hosts(name: &str, further: &[String]) -> Vec<String> {
    let own_machine = OWN_MACHINE.iter().map(|&host| host.to_owned());
    let mut hosts = vec![name.to_owned()];
    for host in further.iter().cloned().chain(own_machine) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

/// Reads the name of a host, which becomes the name of a directory, too.
fn host(text: &str) -> Result<String, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if text == CA {
        return Err(format!("{CA:?} is the directory of the CA: choose another name"));
    }
    if text.len() > MAX_NAME_BYTES || !text.split('.').all(is_label) {
        return Err(format!(
            "{text:?} is no name of a host: write letters, digits, - and _ between dots, at most \
             {MAX_NAME_BYTES} bytes, or an address"
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_is_a_host_and_a_directory_of_its_own() {
        for good in ["host-a", "store.example", "10.0.0.7", "fd00::7", "laptop_1"] {
            assert_eq!(host(good).unwrap(), good);
        }
        for bad in ["", ".", "..", "a/b", "/etc", "a..b", "-x", "*.example", "ca", "a b"] {
            assert!(host(bad).unwrap_err().contains(&format!("{bad:?}")), "{bad}");
        }
        assert!(host(&"x".repeat(65)).is_err());
    }

    #[test]
    fn a_service_is_reached_by_its_name_and_on_its_own_machine() {
        let further = ["10.0.0.7".to_owned(), "localhost".to_owned()];
        assert_eq!(
            hosts("store", &further),
            ["store", "10.0.0.7", "localhost", "127.0.0.1", "::1"]
        );
    }
}
