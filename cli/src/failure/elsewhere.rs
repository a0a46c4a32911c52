//! Ways out for commands that talk to hosts of a context: the usual ones are about a host and a
//! state directory of this machine.

use proto::Reason;

use super::Failure;

impl Failure {
    /// The same failure, met with a context. A way out that was written for this very failure
    /// stays.
    #[must_use]
    pub(crate) fn met_in(self, context: &str) -> Self {
        let Ok(reason) = self.reason.parse::<Reason>() else { return self };
        if self.help != [reason.remedy()] {
            return self;
        }
        let help = match reason {
            Reason::CredentialMissing | Reason::CredentialInvalid | Reason::CredentialScope => {
                format!(
                    "the credential of context {context} has to be the key of that deployment (deployment.key in the \
                     state directory of its hosts) or a token made from it; mainspring context show {context} says where \
                     it comes from"
                )
            }
            Reason::HostNotReachable => {
                format!(
                    "mainspring context show {context} --check asks each of them; on a host itself, mainspring doctor \
                     shows what is wrong with it"
                )
            }
            Reason::StoreUnavailable => {
                "try again; on the host itself, mainspring doctor shows what is wrong with it"
                    .to_owned()
            }
            _ => return self,
        };
        self.help(help)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_wrong_key_is_not_looked_for_in_a_state_directory_of_this_machine() {
        let refused = |reason| Failure::new(Exit::REFUSED, reason, "no").met_in("prod");
        for reason in [Reason::CredentialInvalid, Reason::HostNotReachable] {
            let failure = refused(reason);
            assert!(failure.help[0].contains("context show prod"), "{:?}", failure.help);
            assert!(!failure.help[0].contains("--state-dir"), "{:?}", failure.help);
        }
        let own = Failure::new(Exit::REFUSED, Reason::CredentialMissing, "no").help("ask Ada");
        assert_eq!(own.met_in("prod").help, ["ask Ada"]);
        assert_eq!(refused(Reason::NotClean), Failure::new(Exit::REFUSED, Reason::NotClean, "no"));
    }
}
