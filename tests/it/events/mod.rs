//! What the kernel tells at once, how it is told on, and that all is right without.

mod locks;
mod migrations;
mod nodes;
mod stream;
