//! The certificates in use, and the files that renew them without a restart.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::files::{Stamp, TlsFiles};
use super::material::Material;
use crate::clock::{Boot, SharedClock};

/// How long a look at the files is good for.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The certificates of a process. Connections that stand keep those that they began with.
pub(super) struct Kept {
    files: TlsFiles,
    clock: SharedClock,
    state: Mutex<State>,
}

struct State {
    material: Material,
    /// What the files were when they were last read.
    stamp: Stamp,
    looked: Boot,
    /// Whether the files as they are now are not in use, because they are of no use.
    refused: bool,
    /// Whether the process listens, so that a client's certificate is of no use to it.
    serves: bool,
}

impl Kept {
    pub(super) fn read(files: TlsFiles, clock: SharedClock) -> io::Result<Self> {
        // The stamp is taken first, so that a change while the files are read is seen later.
        let (stamp, looked) = (files.stamp(), clock.boot());
        let material = Material::read(&files, &clock)?;
        let state = Mutex::new(State { material, stamp, looked, refused: false, serves: false });
        Ok(Self { files, clock, state })
    }

    /// From now on the certificates have to be a server's, too; an error if they are not.
    pub(super) fn serve(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.material.for_server()?;
        state.serves = true;
        Ok(())
    }

    /// The certificates for a handshake that begins now. The files are looked at, once a second at
    /// most; files that do not fit together, or hold nothing good, leave the earlier certificates
    /// in use until they do.
    pub(super) fn now(&self) -> Material {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.boot();
        if now.saturating_duration_since(state.looked) >= LOOK_AGAIN {
            state.looked = now;
            self.look(&mut state);
        }
        state.material.clone()
    }

    fn look(&self, state: &mut State) {
        let stamp = self.files.stamp();
        // Refused files are read again although they are the same, because a certificate that is
        // not valid yet becomes valid.
        let is_same = stamp == state.stamp;
        if is_same && !state.refused {
            return;
        }
        state.stamp = stamp;
        let serves = state.serves;
        let fit = |material: Material| -> io::Result<Material> {
            if serves {
                material.for_server()?;
            }
            Ok(material)
        };
        match Material::read(&self.files, &self.clock).and_then(fit) {
            Ok(material) => {
                tracing::info!("the certificates beside {} were renewed", self.files.ca.display());
                state.material = material;
                state.refused = false;
            }
            Err(error) => {
                if !is_same {
                    tracing::warn!("{error}; the earlier certificates stay in use");
                }
                state.refused = true;
            }
        }
    }
}
