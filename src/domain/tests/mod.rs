//! The judgement, sentence by sentence: tables of cases over a small world whose clocks, processes and lock are made up.

mod attempts;
mod details;
mod disappears;
mod first_sight;
mod properties;
mod report;
mod sequences;
mod verdict;
mod world;
