//! Which places of a record are other ones than the runner's own.

use chassis::failpoint;
use proto::{InvalidId, Place, fences};

/// The places of one record, against the place of the runner that reads it.
pub(super) struct Places<'a> {
    /// The runner's own; `None` if it has no name.
    own: Option<&'a Place>,
}

impl<'a> Places<'a> {
    pub(super) fn seen_from(own: Option<&'a Place>) -> Self {
        Self { own }
    }

    /// The name of a place that is another one than the runner's. A place that is not known counts
    /// as the runner's own: a build that names none has one host.
    pub(super) fn other(&self, wire: Option<&fences::Place>) -> Result<Option<String>, InvalidId> {
        let named = Place::read(wire.cloned())?;
        Ok(named.filter(|place| self.is_other(place)).map(|place| place.name().to_owned()))
    }

    /// The name of the other place that a cluster was begun at.
    pub(super) fn other_of_cluster(
        &self,
        wire: Option<&fences::Place>,
    ) -> Result<Option<String>, InvalidId> {
        Ok(self.other(wire)?.filter(|_| !are_no_matter()))
    }

    /// The names of the places that may hold processes of clusters which no teardown of this
    /// runner ends: every other place, and its own place as well where the current cluster is
    /// `elsewhere`. An earlier cluster may live here then, which this host's lifecycle ends by
    /// itself.
    pub(super) fn holding(
        &self,
        wire: &[fences::Place],
        elsewhere: bool,
    ) -> Result<Vec<String>, InvalidId> {
        let mut names = Vec::new();
        for wire in wire {
            let place = Place::try_from(wire.clone())?;
            if elsewhere || self.is_other(&place) {
                names.push(place.name().to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn is_other(&self, place: &Place) -> bool {
        self.own.is_some_and(|own| own.uid() != place.uid())
    }
}

/// The planted bug: a cluster of another place is taken for one of this place, so that its
/// incarnation may be provisioned a second time.
fn are_no_matter() -> bool {
    failpoint::is_planted("places.same-incarnation")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proto::PlaceUid;

    use super::*;

    fn place(name: &str, byte: u8) -> Place {
        Place::host(name, PlaceUid::from_bytes([byte; 8])).unwrap()
    }

    #[test]
    fn a_place_is_another_one_by_its_uid_and_never_where_one_of_both_is_not_known() {
        let (here, there) = (place("a-1", 1), place("a-1", 2));
        let wire = |place: &Place| fences::Place::from(place.clone());
        let places = Places::seen_from(Some(&here));
        assert_eq!(places.other(Some(&wire(&there))).unwrap(), Some("a-1".to_owned()));
        let renamed = place("b-1", 1);
        for own in [None, Some(&wire(&here)), Some(&wire(&renamed))] {
            assert_eq!(places.other(own).unwrap(), None, "{own:?}");
        }
        assert_eq!(Places::seen_from(None).other(Some(&wire(&there))).unwrap(), None);
        let malformed = fences::Place { uid: "7".into(), ..wire(&there) };
        assert!(places.other(Some(&malformed)).is_err(), "it may be any place");
    }

    #[test]
    fn the_own_place_is_waited_for_only_where_the_teardown_is_of_no_cluster_here() {
        let (here, there) = (place("here", 1), place("there", 2));
        let wire = [there.clone(), here.clone()].map(fences::Place::from);
        let places = Places::seen_from(Some(&here));
        assert_eq!(places.holding(&wire, false).unwrap(), ["there"]);
        assert_eq!(places.holding(&wire, true).unwrap(), ["here", "there"]);
        assert_eq!(Places::seen_from(None).holding(&wire, false).unwrap(), [""; 0]);
    }
}
