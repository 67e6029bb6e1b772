//! The checker against made-up servers and against the real one.
