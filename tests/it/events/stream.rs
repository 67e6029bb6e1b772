//! `GET /events`.
