//! What tests of verbs, of the watch and of the host put in the place of the API's other end.

pub(crate) mod puppet;
