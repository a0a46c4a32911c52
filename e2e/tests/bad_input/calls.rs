//! Calls to the API without a credential, with another deployment's, or far too large.

use std::sync::Arc;

use chassis::channel::{GrpcChannel, connect};
use chassis::clock::SystemClock;
use chassis::credential::{Credential, DeploymentKey, Principal};
use chassis::transport::{Endpoint, OsTransport};
use client::error::CallError;
use client::places::Places;
use e2e::Host;
use proto::Reason;
use proto::api::applications_service_client::ApplicationsServiceClient;
use proto::api::{ApplicationSpec, ListRequest, Program, SubmitRequest};
use tonic::Code;

/// A host that runs, with the way to its API.
struct Api {
    host: Host,
    places: Places,
    runtime: tokio::runtime::Runtime,
}

impl Api {
    fn start() -> Self {
        let host = Host::new().with("MAINSPRING_HOST_LINGER", "5m");
        host.run(&["list"]).exits(0);
        let places = Places::new(host.state());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { host, places, runtime }
    }

    fn key(&self) -> DeploymentKey {
        DeploymentKey::load(&self.places.deployment_key()).unwrap()
    }

    fn channel(&self, credential: Option<Credential>) -> GrpcChannel {
        let _inside = self.runtime.enter();
        let socket = Endpoint::Unix(self.places.service_socket("jobgraph-store"));
        connect(Arc::new(OsTransport), Arc::new(SystemClock), socket, credential)
    }

    /// What a List is answered with.
    fn list(&self, credential: Option<Credential>) -> Result<(), CallError> {
        let mut api = ApplicationsServiceClient::new(self.channel(credential));
        self.runtime.block_on(api.list(ListRequest::default())).map(drop).map_err(CallError::from)
    }
}

#[test]
fn a_call_needs_a_credential_of_this_deployment() {
    let api = Api::start();
    let attempt = Principal::Attempt { application: "orders".to_owned(), generation: 1, epoch: 1 };
    let other = DeploymentKey::generate();
    let forged = |token: String| Some(Credential::new(token).unwrap());
    let mut own = api.key().mint(&Principal::Deployment).expose().to_owned();
    assert!(
        api.list(forged(own.clone())).is_ok(),
        "the control: the deployment itself is answered"
    );
    let last = own.pop().unwrap();
    let changed = forged(format!("{own}{}", if last == '0' { '1' } else { '0' }));

    let cases = [
        ("none", None, Code::Unauthenticated, Reason::CredentialMissing),
        (
            "of another deployment",
            Some(other.mint(&Principal::Deployment)),
            Code::Unauthenticated,
            Reason::CredentialInvalid,
        ),
        ("changed by one letter", changed, Code::Unauthenticated, Reason::CredentialInvalid),
        ("made up", forged("letmein".to_owned()), Code::Unauthenticated, Reason::CredentialInvalid),
        (
            "of a main()",
            Some(api.key().mint(&attempt)),
            Code::PermissionDenied,
            Reason::CredentialScope,
        ),
    ];
    for (what, credential, code, reason) in cases {
        let error = api.list(credential).expect_err(what);
        assert_eq!((error.code(), error.reason()), (code, Some(reason)), "{what}: {error}");
        assert!(
            !error.message().is_empty() && !error.message().contains("letmein"),
            "{what}: {error}"
        );
    }
    api.host.down();
}

#[test]
fn a_message_of_100_mb_is_refused_and_the_service_goes_on() {
    let api = Api::start();
    let channel = api.channel(Some(api.key().mint(&Principal::Deployment)));
    let mut client = ApplicationsServiceClient::new(channel).max_encoding_message_size(usize::MAX);
    let program = Program {
        uri: "/one.sql".to_owned(),
        arguments: vec!["x".repeat(100_000_000)],
        ..Program::default()
    };
    let spec = ApplicationSpec {
        program: Some(program),
        engine: "datafusion".to_owned(),
        ..ApplicationSpec::default()
    };
    let request = SubmitRequest {
        request_id: "large".to_owned(),
        spec: Some(spec),
        ..SubmitRequest::default()
    };
    let error =
        CallError::from(api.runtime.block_on(client.submit(request)).expect_err("it is too large"));
    assert_eq!(
        (error.code(), error.reason()),
        (Code::ResourceExhausted, Some(Reason::MessageTooLarge)),
        "{error}"
    );
    assert!(!error.may_have_happened(), "nothing was done: {error}");

    let before = api.host.pid_of("jobgraph-store");
    let list = api.host.run(&["list", "-o", "json"]).exits(0);
    assert!(!list.stdout.contains("applicationId"), "{}", list.stdout);
    assert_eq!(api.host.pid_of("jobgraph-store"), before);
    api.host.down();
}

#[test]
fn an_environment_that_fits_into_no_message() {
    let host = Host::new();
    let (script, file) = (
        host.file("one.sql", "SELECT 1;"),
        host.file("large.env", &format!("A={}", "x".repeat(12_000_000))),
    );
    host.run(&["run", "--env-file", &file, &script])
        .exits(6)
        .says("MESSAGE_TOO_LARGE")
        .says("8388608")
        .says("help:");
    assert!(!host.run(&["list", "-o", "json"]).exits(0).stdout.contains("applicationId"));
    host.down();
}

#[test]
fn arguments_of_a_program_have_a_limit_with_a_name() {
    let host = Host::new();
    let program = crate::program(&host, "counts", "echo $#");
    // 100 arguments of 100 kB: each is below the kernel's limit, and together they are above a
    // spec's.
    let large = "x".repeat(100_000);
    let mut arguments = vec!["run", program.as_str()];
    arguments.extend(std::iter::repeat_n(large.as_str(), 15));
    let run = host.run(&arguments);
    assert_eq!(run.code, 2, "{}", &run.stderr[..run.stderr.len().min(2000)]);
    assert!(
        run.stderr.contains("SPEC_INVALID") && run.stderr.len() < 10_000,
        "{} bytes",
        run.stderr.len()
    );
    host.down();
}
