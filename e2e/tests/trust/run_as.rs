//! Written with run-as.
