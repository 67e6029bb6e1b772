//! The fault matrix: one row a fault, each over the same scene (`stage.rs`), with the same oracle after it: no error that
//! is none, no lock of a live job removed, no event lost or doubled, and recovery without a hand.
//!
//! What needs a scene of its own stands elsewhere: `races.rs` and `database.rs` here, `failover/` (a transaction cut in its
//! middle, a lost answer to a commit, replicas, Galera), `migrations/directory.rs`, `nodes/garbage.rs`.

mod disk;
mod fault;
mod stage;

use std::time::Duration;

use fault::Fault;

/// Runs a row.
async fn holds(fault: Fault) {
    let Some((mut stage, mut means)) = fault::prepare(fault).await else { return };
    fault::happens(fault, &mut stage, &mut means).await;
    stage.all_is_well().await;
}

macro_rules! matrix {
    ($($name:ident: $fault:expr $(, $slow:literal)?;)+) => {
        $(
            #[tokio::test]
            $(#[ignore = $slow])?
            async fn $name() {
                holds($fault).await;
            }
        )+
    };
}

matrix! {
    // The service is killed, in the order of a tick: migrations,
    killed_before_anything_is_written: Fault::Kill("migrations-judged", 1);
    killed_after_the_first_row_is_inserted: Fault::Kill("row-inserted", 1);
    killed_before_the_flip: Fault::Kill("before-flip", 1);
    killed_after_the_flip: Fault::Kill("after-flip", 1);
    killed_before_the_removal: Fault::Kill("before-removal", 1), "slow: a moment close to others";
    killed_before_the_lock_is_set_aside: Fault::Kill("lock-before-rename", 1);
    killed_while_the_lock_is_aside: Fault::Kill("lock-renamed", 1);
    killed_once_the_lock_is_compared: Fault::Kill("lock-compared", 1);
    killed_once_the_lock_is_unlinked: Fault::Kill("lock-unlinked", 1);
    killed_before_the_first_publication: Fault::Kill("before-publish", 1);
    killed_before_a_later_publication: Fault::Kill("before-publish", 4), "slow: a moment close to others";
    killed_at_every_step_one_after_the_other: Fault::KillAtEach(&[
        "row-inserted", "before-flip", "after-flip", "lock-before-rename", "lock-renamed", "lock-compared",
    ]);
    // nodes,
    killed_when_a_node_is_judged: Fault::Kill("node-judged", 3);
    killed_before_the_record: Fault::Kill("before-record", 1);
    killed_after_the_record: Fault::Kill("after-record", 1);
    killed_before_the_heartbeat: Fault::Kill("before-beat", 1);
    killed_after_the_heartbeat: Fault::Kill("after-beat", 2), "slow: a moment close to others";
    killed_before_the_nodes_are_published: Fault::Kill("nodes-before-publish", 1);
    killed_once_the_nodes_are_published: Fault::Kill("nodes-published", 2), "slow: a moment close to others";
    // and in a transaction, whoever's: of a record, of the first row, of a flip.
    killed_in_the_first_transaction: Fault::Kill("in-transaction", 1);
    killed_in_the_second_transaction: Fault::Kill("in-transaction", 2);
    killed_in_the_third_transaction: Fault::Kill("in-transaction", 3), "slow: a moment close to others";
    killed_in_the_fourth_transaction: Fault::Kill("in-transaction", 4), "slow: a moment close to others";

    // The database.
    the_database_is_held: Fault::Held, "slow: a held table is a failure only after the limits of three statements";
    the_disk_of_the_file_is_full: Fault::DiskFull;
    the_file_is_read_only: Fault::FilesReadOnly;
    the_server_is_stopped: Fault::ServerStopped;
    the_server_is_killed: Fault::ServerKilled;
    the_server_stands_still: Fault::ServerFrozen;
    the_network_to_the_server_is_cut: Fault::Cut;
    the_server_is_slow: Fault::Slow(Duration::from_millis(50)), "slow: each packet takes its time";

    // What is watched.
    the_lock_directory_is_read_only: Fault::LocksReadOnly;
    the_lock_directory_is_away: Fault::LocksAway, "slow: waits for what must not happen";
    the_resolver_hangs: Fault::DnsHangs;
    nodes_hang_at_each_byte: Fault::NodesHang, "slow: two hundred nodes that time out";

    // What the service lives on.
    no_descriptor_is_left: Fault::NoDescriptors;
    the_service_stands_still: Fault::Frozen;
    the_clock_steps_back: Fault::ClockSteps(-3600);
    the_clock_steps_forward: Fault::ClockSteps(300);
}
