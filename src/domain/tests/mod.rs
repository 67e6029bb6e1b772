//! The judgement, sentence by sentence: tables of cases over a small world whose clocks, processes and lock are made up.

mod adopt;
mod alert;
mod attempts;
mod busy;
mod details;
mod disappears;
mod ends;
mod first_sight;
mod fleet;
mod fleet_locks;
mod fleet_properties;
mod handover;
mod leases;
mod properties;
mod report;
mod sequences;
mod shares;
mod sleep;
mod stalled;
mod uptime;
mod verdict;
mod world;
