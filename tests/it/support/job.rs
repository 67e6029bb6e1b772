//! Background jobs with lock files.
